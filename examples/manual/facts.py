"""What the manuals may say: for each fact its values, how it is put, and how it is asked.

In a sentence and a question {it} is the product, {v} the value, which is the answer.
"""

from typing import NamedTuple


class Fact(NamedTuple):
    """One thing that a manual may say."""

    values: tuple[str, ...]
    said: tuple[str, ...]
    asked: tuple[str, ...]


HOURS = tuple(f"{n} hours" for n in (3, 5, 6, 8, 9, 10, 12, 14, 18, 20, 24, 30, 36, 40))
MINUTES = tuple(f"{n} minutes" for n in (5, 10, 15, 20, 30, 40, 45, 50, 60, 75, 90, 100, 120))
SECONDS = tuple(f"{n} seconds" for n in (2, 3, 4, 5, 6, 8, 10, 12, 15, 20))
MONTHS = (*(f"{n} months" for n in (2, 3, 4, 6, 9, 12, 18)), "every week", "two weeks", "10 days")
YEARS = ("one year", "18 months", "two years", "three years", "30 months", "five years", "4 years")
GRAMS = (*(f"{n} g" for n in (85, 120, 180, 240, 310, 420, 560, 730, 890)), "1.2 kg", "2.4 kg")
METRES = tuple(f"{n} metres" for n in (2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50))
LITRES = (
    "0.3 litres",
    "0.5 litres",
    "0.8 litres",
    "1.2 litres",
    "1.5 litres",
    "2 litres",
    "4 litres",
)
DEGREES = tuple(f"{n} °C" for n in (30, 35, 40, 45, 50, 55, 60, 70, 80, 95))
PARTS = (
    "under the lid",
    "behind the grille",
    "on the left side",
    "below the handle",
    "at the back",
    "inside the battery tray",
    "next to the power socket",
    "on the underside",
)
COLOURS = ("red", "blue", "green", "amber", "white", "purple", "orange")
ITEMS = (
    "a wall bracket",
    "two spare filters",
    "a carrying case",
    "a cleaning brush",
    "a travel plug",
    "a charging dock",
    "four AA batteries",
    "a silicone seal",
)
APPS = ("Homely", "Brightside", "Northlight", "Kettlewise", "Tidehouse", "Plainview")

ENGLISH: dict[str, Fact] = {
    "battery": Fact(
        HOURS,
        (
            "A full battery lasts {v}.",
            "On one charge {it} runs for {v}.",
            "You can use it for {v} before the battery is empty.",
        ),
        (
            "How long does the battery last?",
            "For how long does {it} run on one charge?",
            "What is the running time of a full battery?",
        ),
    ),
    "charging": Fact(
        MINUTES,
        (
            "Charging takes {v}.",
            "The battery is full again after {v} at the socket.",
            "Leave it on the charger for {v}.",
        ),
        (
            "How long does charging take?",
            "How much time does {it} need to charge?",
            "When is the battery full again?",
        ),
    ),
    "reset": Fact(
        SECONDS,
        (
            "To reset {it}, hold the power button for {v}.",
            "Holding the power button for {v} restores the factory settings.",
            "It forgets all settings when the power button is pressed for {v}.",
        ),
        (
            "How long must I press the power button to reset {it}?",
            "How do I restore the factory settings, for how long is the button held?",
            "How many seconds does a reset take?",
        ),
    ),
    "warranty": Fact(
        YEARS,
        (
            "The warranty covers {v} from the day of purchase.",
            "We repair faults free of charge for {v}.",
            "{it} comes with a warranty of {v}.",
        ),
        (
            "How long is the warranty?",
            "For how long are faults repaired free of charge?",
            "What warranty does {it} have?",
        ),
    ),
    "filter": Fact(
        MONTHS,
        (
            "Replace the filter after {v}.",
            "A filter is worn out after {v}.",
            "The filter should be changed once {v} have gone by.",
        ),
        (
            "When should the filter be replaced?",
            "How long can one filter be used?",
            "How often do I change the filter?",
        ),
    ),
    "weight": Fact(
        GRAMS,
        (
            "{it} weighs {v}.",
            "Its weight is {v} without accessories.",
            "On the scale it comes to {v}.",
        ),
        ("How heavy is {it}?", "What does {it} weigh?", "What is its weight?"),
    ),
    "range": Fact(
        METRES,
        (
            "The remote control works from up to {v} away.",
            "Its radio reaches {v} in the open.",
            "Stay within {v} when you use the remote control.",
        ),
        (
            "How far does the remote control reach?",
            "What is the range of the radio?",
            "From what distance can {it} be controlled?",
        ),
    ),
    "depth": Fact(
        METRES,
        (
            "It is waterproof down to {v}.",
            "Do not dive deeper than {v} with it.",
            "The housing keeps water out to a depth of {v}.",
        ),
        (
            "How deep may {it} go under water?",
            "To what depth is it waterproof?",
            "How far down does the housing keep water out?",
        ),
    ),
    "tank": Fact(
        LITRES,
        (
            "The water tank holds {v}.",
            "Fill the tank with no more than {v}.",
            "Up to {v} fit into its tank.",
        ),
        (
            "How much water fits into the tank?",
            "What is the capacity of the tank?",
            "How much does the tank of {it} hold?",
        ),
    ),
    "heat": Fact(
        DEGREES,
        (
            "Do not use {it} above {v}.",
            "At more than {v} it switches itself off.",
            "Its surroundings must stay below {v}.",
        ),
        (
            "At what temperature does {it} switch itself off?",
            "How hot may the surroundings be?",
            "What is the highest temperature that it can be used at?",
        ),
    ),
    "number": Fact(
        PARTS,
        (
            "You find the serial number {v}.",
            "The serial number is printed {v}.",
            "Look {v} for the serial number.",
        ),
        (
            "Where is the serial number?",
            "Where do I find the serial number of {it}?",
            "Where is the serial number printed?",
        ),
    ),
    "fuse": Fact(
        PARTS,
        (
            "The fuse sits {v}.",
            "Its fuse can be reached {v}.",
            "If nothing happens, check the fuse {v}.",
        ),
        (
            "Where is the fuse?",
            "Where can the fuse of {it} be reached?",
            "Where should I look for the fuse?",
        ),
    ),
    "fault": Fact(
        COLOURS,
        (
            "A {v} light means that something is wrong.",
            "When a fault occurs, the lamp turns {v}.",
            "The lamp blinks {v} if there is an error.",
        ),
        (
            "What colour is the lamp when there is a fault?",
            "Which light means that something is wrong?",
            "In which colour does it show an error?",
        ),
    ),
    "pairing": Fact(
        COLOURS,
        (
            "While it looks for a phone, the lamp is {v}.",
            "A {v} lamp shows that it is ready to pair.",
            "In pairing mode the lamp glows {v}.",
        ),
        (
            "What colour is the lamp in pairing mode?",
            "Which lamp shows that {it} is ready to pair?",
            "In which colour does it glow while it looks for a phone?",
        ),
    ),
    "box": Fact(
        ITEMS,
        ("The box also holds {v}.", "Included is {v}.", "With {it} you receive {v}."),
        (
            "What else is in the box?",
            "What is included with {it}?",
            "Which accessory comes with it?",
        ),
    ),
    "app": Fact(
        APPS,
        (
            "Settings are changed in the app {v}.",
            "Install {v} on your phone to set it up.",
            "The app for {it} is called {v}.",
        ),
        (
            "Which app do I need?",
            "What is the app for {it} called?",
            "What do I install on my phone to set it up?",
        ),
    ),
}

NAMES = (
    "the Aria lamp",
    "the Borea fan",
    "the Cosma camera",
    "the Delta kettle",
    "the Echo speaker",
    "the Fjord watch",
    "the Gala mixer",
    "the Hilo scale",
    "the Iris torch",
    "the Juno heater",
    "the Kite drone",
    "the Lumo clock",
    "the Mira vacuum",
    "the Nova radio",
    "the Onda diffuser",
    "the Pico scanner",
    "the Quill pen",
    "the Rondo router",
    "the Sola charger",
    "the Tempo shaver",
)

HANS_NAMES = (
    "晨光台灯",
    "清风风扇",
    "远山相机",
    "泉水水壶",
    "回声音箱",
    "海湾手表",
    "小厨搅拌机",
    "轻云体重秤",
    "萤火手电",
    "暖阳取暖器",
    "纸鸢无人机",
    "时光闹钟",
    "净居吸尘器",
    "星河收音机",
    "云雾加湿器",
    "方寸扫描仪",
    "青竹录音笔",
    "连山路由器",
    "绿能充电器",
    "利落剃须刀",
)

_HOURS = tuple(f"{n}小时" for n in (3, 5, 6, 8, 9, 10, 12, 14, 18, 20, 24, 30, 36, 40))
_MINUTES = tuple(f"{n}分钟" for n in (5, 10, 15, 20, 30, 40, 45, 50, 60, 75, 90, 100, 120))
_SECONDS = tuple(f"{n}秒" for n in (2, 3, 4, 5, 6, 8, 10, 12, 15, 20))
_MONTHS = ("两个月", "三个月", "四个月", "半年", "九个月", "一个月", "两周", "十天")
_YEARS = ("一年", "十八个月", "两年", "三年", "三十个月", "五年", "四年")
_GRAMS = (*(f"{n}克" for n in (85, 120, 180, 240, 310, 420, 560, 730, 890)), "1.2公斤", "2.4公斤")
_METRES = tuple(f"{n}米" for n in (2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50))
_LITRES = ("0.3升", "0.5升", "0.8升", "1.2升", "1.5升", "2升", "4升")
_DEGREES = tuple(f"{n}摄氏度" for n in (30, 35, 40, 45, 50, 55, 60, 70, 80, 95))
_PLACES = (
    "盖子下面",
    "网罩后面",
    "机身左侧",
    "提手下方",
    "机身背面",
    "电池仓里",
    "电源插口旁边",
    "机身底部",
)
_COLOURS = ("红色", "蓝色", "绿色", "琥珀色", "白色", "紫色", "橙色")
_ITEMS = (
    "一个壁挂支架",
    "两片备用滤网",
    "一个便携包",
    "一把清洁刷",
    "一个旅行插头",
    "一个充电底座",
    "四节电池",
    "一个硅胶密封圈",
)
_APPS = ("小筑", "明窗", "北光", "知壶", "潮屋", "平野")

CHINESE: dict[str, Fact] = {
    "battery": Fact(
        _HOURS,
        ("电池充满后可用{v}。", "{it}充一次电能运行{v}。", "连续使用{v}后电池会耗尽。"),
        ("电池能用多久？", "{it}充一次电能运行多长时间？", "充满电后可以用多久？"),
    ),
    "charging": Fact(
        _MINUTES,
        ("充电需要{v}。", "插上电源{v}后电池即可充满。", "请在充电器上放置{v}。"),
        ("充电需要多长时间？", "{it}要充多久的电？", "多久能把电池充满？"),
    ),
    "reset": Fact(
        _SECONDS,
        (
            "按住电源键{v}即可重置{it}。",
            "长按电源键{v}会恢复出厂设置。",
            "电源键按下{v}后所有设置都会清除。",
        ),
        (
            "重置时电源键要按多久？",
            "怎样恢复出厂设置，电源键按多久？",
            "清除所有设置要按住电源键几秒？",
        ),
    ),
    "warranty": Fact(
        _YEARS,
        ("自购买之日起保修{v}。", "{v}内出现故障可免费维修。", "{it}的保修期为{v}。"),
        ("保修期有多长？", "多长时间内可以免费维修？", "{it}保修多久？"),
    ),
    "filter": Fact(
        _MONTHS,
        ("滤网使用{v}后请更换。", "一片滤网可用{v}。", "滤网的寿命是{v}。"),
        ("滤网多久更换一次？", "一片滤网能用多久？", "滤网的寿命有多长？"),
    ),
    "weight": Fact(
        _GRAMS,
        ("{it}重{v}。", "不含配件的重量是{v}。", "整机净重{v}。"),
        ("{it}有多重？", "重量是多少？", "整机净重多少？"),
    ),
    "range": Fact(
        _METRES,
        ("遥控器的有效距离为{v}。", "空旷处遥控信号可达{v}。", "请在{v}以内使用遥控器。"),
        ("遥控器能在多远处使用？", "遥控的有效距离是多少？", "离{it}多远还能遥控？"),
    ),
    "depth": Fact(
        _METRES,
        ("防水深度为{v}。", "请勿带到水下{v}以下。", "机壳在水深{v}处仍能防水。"),
        ("防水深度是多少？", "{it}能下到多深的水里？", "在水下多深还能防水？"),
    ),
    "tank": Fact(
        _LITRES,
        ("水箱容量为{v}。", "水箱最多加水{v}。", "它的水箱能装{v}水。"),
        ("水箱能装多少水？", "水箱的容量是多少？", "{it}最多加多少水？"),
    ),
    "heat": Fact(
        _DEGREES,
        ("请勿在高于{v}的环境中使用{it}。", "温度超过{v}时会自动关机。", "环境温度须低于{v}。"),
        ("温度到多少会自动关机？", "环境温度最高可以是多少？", "{it}能在多热的环境中使用？"),
    ),
    "number": Fact(
        _PLACES,
        ("序列号在{v}。", "序列号印在{v}。", "请在{v}查找序列号。"),
        ("序列号在哪里？", "{it}的序列号印在什么地方？", "到哪里查找序列号？"),
    ),
    "fuse": Fact(
        _PLACES,
        ("保险丝位于{v}。", "保险丝装在{v}。", "如果没有反应，请检查{v}的保险丝。"),
        ("保险丝在哪里？", "{it}的保险丝装在什么地方？", "到哪里检查保险丝？"),
    ),
    "fault": Fact(
        _COLOURS,
        ("{v}灯亮表示出现故障。", "出错时指示灯变为{v}。", "发生故障时指示灯闪{v}。"),
        ("出现故障时指示灯是什么颜色？", "出错时亮什么颜色的灯？", "什么颜色表示{it}有故障？"),
    ),
    "pairing": Fact(
        _COLOURS,
        ("寻找手机时指示灯为{v}。", "{v}灯亮表示可以配对。", "配对模式下指示灯呈{v}。"),
        (
            "配对模式下指示灯是什么颜色？",
            "寻找手机时灯是什么颜色？",
            "什么颜色的灯表示{it}可以配对？",
        ),
    ),
    "box": Fact(
        _ITEMS,
        ("包装内还有{v}。", "随机附赠{v}。", "购买{it}还会得到{v}。"),
        ("包装内还有什么？", "随机附赠什么？", "购买{it}还会得到什么配件？"),
    ),
    "app": Fact(
        _APPS,
        ("请在{v}应用中更改设置。", "请在手机上安装{v}来完成设置。", "{it}的应用名叫{v}。"),
        ("需要用哪个应用？", "{it}的应用叫什么名字？", "手机上要安装什么来完成设置？"),
    ),
}
