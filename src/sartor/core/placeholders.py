"""What a translation must carry over as it is: places that a program fills in, and markup.

%(name)s %s %1$d     printf, as Python, C and PHP write it
{} {name} {0:.2f}    str.format, ICU without forms, {{ name }} and {% tag %} of templates
${name}              shells and JavaScript
<b> </b> <a href=…>  tags: the name and the side count, attributes may be translated
"""

import re
from collections import Counter

_PLACE = re.compile(
    r"""(?P<percent>%%)
    | %\(\w+\)[-+#0]*\d*(?:\.\d+)?[a-zA-Z]
    | %(?:\d+\$)?[-+#0]*\d*(?:\.\d+)?(?:hh?|ll?)?[sdifuxXeEgGcr](?![a-zA-Z])
    | \{\{[^{}]*\}\} | \{%[^{}]*%\} | \$?\{[\w.\[\]]*(?:![rsa])?(?::[^{}\s]*)?\}
    | <(?P<side>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9-]*)(?:\s[^<>]*)?/?>""",
    re.VERBOSE,
)


def placeholders_of(text: str) -> Counter[str]:
    """How often each stands in a text; spaces inside one do not count."""
    found: Counter[str] = Counter()
    for match in _PLACE.finditer(text):
        if match["tag"]:
            found[f"<{match['side']}{match['tag'].lower()}>"] += 1
        elif not match["percent"]:
            found["".join(match[0].split())] += 1
    return found


def lacking(source: str, written: str) -> list[str]:
    """Those of the source that what was written has not, or not as often; sorted."""
    return sorted((placeholders_of(source) - placeholders_of(written)).elements())
