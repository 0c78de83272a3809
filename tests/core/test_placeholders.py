"""What a translation must carry over is found, and what is plain writing is not."""

import pytest

from sartor.core.placeholders import lacking, placeholders_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Delete %(count)d %(name)s?", ["%(count)d", "%(name)s"]),
        ("%s of %1$d, %.2f", ["%.2f", "%1$d", "%s"]),
        ("{} and {name} and {0:.2f} and {x!r}", ["{0:.2f}", "{name}", "{x!r}", "{}"]),
        ("{{ user.name }} {% url 'home' %} ${HOME}", ["${HOME}", "{%url'home'%}", "{{user.name}}"]),
        ('<a href="x">go</a><br/><B>', ["</a>", "<a>", "<b>", "<br>"]),
        ("100% sure, 5 % off, 50%% done, a < b > c, {not this one}", []),
        ("20% discount", []),
        ("中文%(name)s，{}", ["%(name)s", "{}"]),
    ],
)
def test_placeholders_of_the_usual_kinds_are_found(text, found):
    assert sorted(placeholders_of(text).elements()) == found


def test_what_is_lost_is_named_and_counted():
    assert lacking("%(a)s %(a)s <b>x</b>", "%(a)s <b>x") == ["%(a)s", "</b>"]
    assert lacking("{{ name }}", "{{name}}") == []
    assert lacking("nothing", "%(a)s") == []
