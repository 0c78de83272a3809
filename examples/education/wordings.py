"""What learners write: of each question three points and a mistake, in five wordings a language.

The last wording is for the test. All of it is ours.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """One question in one language.

    Args:
        name: The same in both languages.
        text: As it is asked.
        wordings: Each holds the three points, then the mistake.
    """

    name: str
    text: str
    wordings: tuple[tuple[str, str, str, str], ...]


ENGLISH = (
    Question(
        "ice",
        "Why does ice float on water?",
        (
            (
                "Water takes up more room when it freezes.",
                "So ice is less dense than water.",
                "Water pushes up whatever is less dense than itself.",
                "Cold things always rise.",
            ),
            (
                "When water turns to ice it expands.",
                "The same volume of ice weighs less.",
                "Things lighter than the water they replace are carried by it.",
                "Ice has air pumped into it.",
            ),
            (
                "Freezing makes water swell.",
                "That gives ice a lower density.",
                "A lower density means that buoyancy wins over weight.",
                "Ice is heavier and so it stays on top.",
            ),
            (
                "In a crystal the molecules of water stand further apart.",
                "There is less mass in each cubic centimetre of ice.",
                "The upward push of the water is then enough to hold it.",
                "The wind keeps the ice up.",
            ),
            (
                "A bottle of water bursts in the freezer because the ice needs more space.",
                "Litre for litre, ice is the lighter of the two.",
                "Liquids lift bodies that weigh less than the liquid they push aside.",
                "Ice swims because it is slippery.",
            ),
        ),
    ),
    Question(
        "seasons",
        "Why are there seasons?",
        (
            (
                "The axis of the Earth is tilted.",
                "The Earth goes round the Sun once a year.",
                "So each half gets more direct light for a part of the year.",
                "In summer the Earth is closer to the Sun.",
            ),
            (
                "Our planet leans to one side.",
                "It travels around the Sun in twelve months.",
                "The half that leans towards the Sun has longer days and higher sunshine.",
                "The Sun burns hotter in July.",
            ),
            (
                "The Earth does not spin upright.",
                "During a year it circles the Sun.",
                "Where rays fall more steeply it is warmer, and that place changes.",
                "Clouds go away in summer.",
            ),
            (
                "There is an angle of about 23 degrees between its axis and upright.",
                "One orbit lasts 365 days.",
                "First the north and half a year later the south is turned to the light.",
                "The Moon blocks the warmth in winter.",
            ),
            (
                "The globe is slanted, as on its stand in the classroom.",
                "It takes a year for a trip about the Sun.",
                "Sunlight hits one half more head-on in June and the other in December.",
                "Winter comes because the Earth drifts far away from the Sun.",
            ),
        ),
    ),
    Question(
        "plants",
        "How does a plant make its food?",
        (
            (
                "Leaves take in carbon dioxide from the air.",
                "Roots bring up water.",
                "With the energy of light both become sugar and oxygen.",
                "A plant eats the soil.",
            ),
            (
                "It breathes in CO2 through small openings.",
                "Water comes from the ground.",
                "Chlorophyll uses sunlight to build glucose from them.",
                "Fertiliser is its food.",
            ),
            (
                "Carbon comes from a gas in the air.",
                "The stem carries water to the leaves.",
                "Photosynthesis turns light into the energy of sugar.",
                "At night it sucks food out of the dark.",
            ),
            (
                "It uses the carbon dioxide that we breathe out.",
                "It drinks through its roots.",
                "The green parts catch light and make sugar with it.",
                "Insects feed every plant.",
            ),
            (
                "One ingredient is the CO2 around the leaves.",
                "Another is the moisture that roots draw from the earth.",
                "Sunshine drives the reaction that yields sugar and lets oxygen go.",
                "Its meals are minerals that it chews in the ground.",
            ),
        ),
    ),
    Question(
        "soap",
        "Why do we wash our hands with soap?",
        (
            (
                "There are germs on our hands.",
                "Soap loosens the grease in which they stick.",
                "Water then carries them away.",
                "Soap makes hands warm.",
            ),
            (
                "Hands pick up bacteria and viruses.",
                "Soap breaks up fat, and the skin of many viruses too.",
                "They are rinsed off under the tap.",
                "It is only for the smell.",
            ),
            (
                "What we touch leaves things that can make us ill.",
                "Soap lets oil and water mix.",
                "So the dirt with all that lives in it is flushed down.",
                "Germs are afraid of bubbles.",
            ),
            (
                "Skin carries microbes that cause disease.",
                "One end of soap holds fat, the other holds water.",
                "That is how rinsing takes them off.",
                "Soap feeds good germs.",
            ),
            (
                "Door handles and noses put invisible microbes onto fingers.",
                "Suds dissolve the oily film to which they cling.",
                "The running water washes the lot down the drain.",
                "Soap dries the hands, and dry hands are always clean.",
            ),
        ),
    ),
    Question(
        "prices",
        "Why does bread become dearer after a bad harvest?",
        (
            (
                "There is less grain to sell.",
                "People need as much bread as before.",
                "Buyers offer more, so the price goes up.",
                "Bakers eat the bread themselves.",
            ),
            (
                "Supply falls.",
                "Demand stays the same.",
                "Whoever wants grain must outbid the others.",
                "The government prints more bread.",
            ),
            (
                "Farmers bring in fewer tonnes.",
                "Nobody is less hungry than last year.",
                "With too little for all, sellers can ask for more.",
                "Bad grain is heavier.",
            ),
            (
                "Wheat is scarce that year.",
                "Just as many customers come to the shop.",
                "Millers compete for what there is and pay more for it.",
                "Shops close in autumn.",
            ),
            (
                "The fields gave little, so mills receive few sacks.",
                "Families still buy their loaf every morning.",
                "Scarce goods go to those who pay more, which drives up what all pay.",
                "Flour costs more because it is whiter after rain.",
            ),
        ),
    ),
)
CHINESE = (
    Question(
        "ice",
        "冰为什么浮在水面上？",
        (
            (
                "水结冰时体积变大。",
                "所以冰的密度比水小。",
                "密度小的物体会被水托起来。",
                "冷的东西都会上升。",
            ),
            (
                "水变成冰会膨胀。",
                "同样体积的冰更轻。",
                "比排开的水轻的东西会浮起来。",
                "冰里面打了气。",
            ),
            (
                "结冰以后水占的地方更多。",
                "因此冰的密度较低。",
                "浮力大于它的重力。",
                "冰更重，所以在上面。",
            ),
            (
                "冰里的水分子离得更远。",
                "每立方厘米冰的质量更少。",
                "水向上的浮力足以把它托住。",
                "是风把冰托起来的。",
            ),
            (
                "瓶里的水冻住会把瓶子撑破，因为冰需要更大的空间。",
                "一升冰没有一升水重。",
                "液体会把比它轻的物体往上顶。",
                "冰很滑，所以会游泳。",
            ),
        ),
    ),
    Question(
        "seasons",
        "为什么会有四季？",
        (
            (
                "地球的自转轴是倾斜的。",
                "地球一年绕太阳转一圈。",
                "所以南北半球轮流受到更多直射的阳光。",
                "夏天地球离太阳更近。",
            ),
            (
                "地球是歪着转的。",
                "它用十二个月绕太阳公转一周。",
                "朝向太阳的那一半白天更长，太阳更高。",
                "七月太阳烧得更旺。",
            ),
            (
                "地轴不是竖直的。",
                "一年里地球围着太阳走一圈。",
                "阳光照得越直的地方越热，而这个地方在变化。",
                "夏天云都走了。",
            ),
            (
                "地轴倾斜大约二十三度。",
                "公转一周是三百六十五天。",
                "先是北半球，半年后是南半球对着阳光。",
                "冬天月亮挡住了热量。",
            ),
            (
                "地球仪在架子上是斜的，地球也一样斜。",
                "绕太阳走完一趟要一年。",
                "六月阳光正对着一半，十二月正对着另一半。",
                "冬天是因为地球飞到了离太阳很远的地方。",
            ),
        ),
    ),
    Question(
        "plants",
        "植物怎样制造养分？",
        (
            (
                "叶子从空气中吸收二氧化碳。",
                "根吸收水分。",
                "利用光的能量，两者变成糖和氧气。",
                "植物吃泥土。",
            ),
            (
                "它通过小孔吸入二氧化碳。",
                "水来自地下。",
                "叶绿素用阳光把它们合成葡萄糖。",
                "肥料就是它的饭。",
            ),
            (
                "碳来自空气中的一种气体。",
                "茎把水送到叶子。",
                "光合作用把光变成糖里的能量。",
                "它在夜里从黑暗中吸取食物。",
            ),
            (
                "它用的是我们呼出的二氧化碳。",
                "它用根喝水。",
                "绿色的部分抓住光来造糖。",
                "昆虫喂养所有植物。",
            ),
            (
                "原料之一是叶子周围的二氧化碳。",
                "另一个原料是根从土里汲取的水。",
                "阳光推动反应，生成糖并放出氧。",
                "它在地里咀嚼矿物质当饭吃。",
            ),
        ),
    ),
    Question(
        "soap",
        "为什么要用肥皂洗手？",
        (
            ("手上有细菌。", "肥皂能松动粘住细菌的油脂。", "然后水把它们冲走。", "肥皂让手变暖。"),
            (
                "手会沾上细菌和病毒。",
                "肥皂能分解油脂，也能破坏许多病毒的外膜。",
                "它们在水龙头下被冲掉。",
                "只是为了好闻。",
            ),
            (
                "我们摸过的东西会留下让人生病的东西。",
                "肥皂让油和水混在一起。",
                "脏东西连同里面的微生物一起被冲下去。",
                "细菌害怕泡泡。",
            ),
            (
                "皮肤上带着会致病的微生物。",
                "肥皂一头抓油，一头抓水。",
                "这样冲洗就能把它们带走。",
                "肥皂喂养好的细菌。",
            ),
            (
                "门把手和鼻子会把看不见的微生物带到手指上。",
                "泡沫溶解了它们附着的那层油膜。",
                "流水把这些全部冲进下水道。",
                "肥皂把手弄干，干的手总是干净的。",
            ),
        ),
    ),
    Question(
        "prices",
        "收成不好以后面包为什么会涨价？",
        (
            (
                "可以卖的粮食变少了。",
                "人们需要的面包和以前一样多。",
                "买的人出更高的价，价格就涨了。",
                "面包师自己把面包吃了。",
            ),
            ("供给减少。", "需求不变。", "想要粮食的人必须比别人出价高。", "政府印了更多面包。"),
            (
                "农民收的粮食少了。",
                "大家的肚子并没有比去年小。",
                "东西不够分，卖家就能要更多的钱。",
                "坏的粮食更重。",
            ),
            (
                "那一年小麦稀缺。",
                "来店里的顾客一样多。",
                "面粉厂争着买，付的钱更多。",
                "秋天商店都关门。",
            ),
            (
                "田里打的粮少，磨坊收到的麦袋也少。",
                "每家每天早上还是要买面包。",
                "稀缺的东西归出钱多的人，于是大家都要多付钱。",
                "下雨后面粉更白，所以更贵。",
            ),
        ),
    ),
)
FILLERS = {
    "en": ("We learnt this last week.", "I think so at least.", "My sister told me."),
    "zh": ("我们上周学过。", "我觉得是这样。", "是我姐姐告诉我的。"),
}
