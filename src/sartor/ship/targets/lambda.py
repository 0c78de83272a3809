"""AWS Lambda: a zip of what answering needs, or a container image, with a SAM template.

No store: a function's disk is read-only and its processes come and go. The file is named by a
keyword, which `import` cannot say and the registry need not: it looks modules up by name.
"""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from sartor.core.errors import SettingError
from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import new_key, of_llm
from sartor.ship.filling import fill
from sartor.ship.lean import lean_pins
from sartor.ship.parcel import KEY
from sartor.ship.yaml import to_yaml

_LIMIT_MIB = 250
"""Of a zip, unpacked: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_LIBRARIES_MIB = 115
"""What the rest of a zip takes, about; `build.sh` counts what is really there."""
_SIGNING_MIB = 20
"""What checking a signature takes beside that, about."""
_MACHINE = {"x86_64": "x86_64", "arm64": "aarch64"}

_HANDLER = '''\
"""What AWS Lambda calls: `handler.handler`."""

from pathlib import Path

from sartor.serve.aws_lambda import open_handler

handler = open_handler(Path(__file__).parent / "bundle"@unreleased@)
'''
_MAKEFILE = """\
# What `sam build` calls.
build-SartorFunction:
\tsh build.sh "$(ARTIFACTS_DIR)"
"""
_BUILD = """\
#!/bin/sh
# Puts what the function needs into one folder: sh build.sh FOLDER
# PYTHON names the Python whose pip is used; PYTHON_VERSION, the one that will run the function.
set -eu
[ $# -eq 1 ] || { echo "usage: sh build.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
to=$(cd "$1" && pwd)
cd "$(dirname "$0")"
python=${PYTHON:-python3}
version=${PYTHON_VERSION:-@python@}

# Wheels for Lambda's machine, whatever this one is. Without what their own commands would need.
"$python" -m pip install --quiet --no-deps --no-compile --upgrade --target "$to" \\
    --only-binary=:all: --implementation cp --python-version "$version" \\
    --platform manylinux_2_28_@machine@ --platform manylinux_2_27_@machine@ \\
    --platform manylinux_2_17_@machine@ --platform manylinux2014_@machine@ \\
    -r requirements.txt

# What no answer imports: tests, headers, stubs, converters, and ONNX Runtime once more for C.
rm -f "$to"/onnxruntime/capi/libonnxruntime.so*
rm -rf "$to/bin" "$to/numpy/f2py" "$to/numpy/distutils" "$to/numpy/_core/include" \\
    "$to/onnxruntime/tools" "$to/onnxruntime/transformers" "$to/onnxruntime/quantization" \\
    "$to/onnxruntime/datasets" "$to/onnxruntime/backend"
find "$to/numpy" -type d -name tests -prune -exec rm -rf {} +
find "$to" -type f \\( -name '*.pyi' -o -name '*.pxd' -o -name '*.a' -o -name '*.h' \\) \\
    -exec rm -f {} +

cp handler.py "$to/"
rm -rf "$to/bundle"
cp -R bundle "$to/bundle"

# Lambda's disk is read-only: what is not compiled now is compiled at every cold start. The bytecode
# is not compared with its source, whose time a zip does not keep to the second.
here=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$here" = "$version" ]; then
    "$python" -m compileall -q --invalidation-mode unchecked-hash "$to" || :
else
    echo "Python $here cannot compile for $version: cold starts take longer. Set PYTHON to one." >&2
fi

size=$(du -sk "$to" | cut -f1)
echo "$((size / 1024)) MiB in $1"
[ "$size" -le @limit_kib@ ] || {
    echo "Lambda takes @limit@ MiB: ship with --set form=container, or a smaller bundle." >&2
    exit 1
}
"""
_DOCKERFILE = """\
# Lambda's runtime interface client is part of the base image.
FROM public.ecr.aws/lambda/python:@python@

# What changes seldom comes first: a new bundle reinstalls nothing.
COPY requirements.txt @wheel@ ./
RUN pip install --no-cache-dir --no-deps --only-binary=:all: -r requirements.txt
COPY bundle ./bundle
COPY handler.py ./
CMD ["handler.handler"]
"""
_IGNORED = """\
# What the image does not hold.
*
!requirements.txt
!*.whl
!handler.py
!bundle
"""


@TARGETS.add
@dataclass(frozen=True, slots=True)
class AwsLambda:
    """Answers behind a function URL or a gateway, and rows that programs invoke it with."""

    summary: ClassVar[str] = "AWS Lambda, as a zip or a container image, by AWS SAM"

    form: Literal["zip", "container"] = "zip"
    """A zip of at most 250 MiB, unpacked, or a container image of at most 10 GB."""
    python: Literal["3.12", "3.13"] = "3.12"
    """Version that runs the function. Older ones run on Amazon Linux 2, whose C library numpy and
    ONNX Runtime are too new for."""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    """Kind of processor; the bundle was judged on x86_64 unless you judged it elsewhere."""
    memory_mb: Annotated[int, Ge(256), Le(10_240)] = 1_769
    """Memory; processor time comes in proportion, a whole core with 1,769."""
    timeout_s: Annotated[int, Ge(1), Le(900)] = 30
    """After this a request is given up, the start of a process included."""
    access: Literal["iam", "key"] = "iam"
    """Who may call the URL: whom IAM allows, or everybody who has the API key."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        libraries = _LIBRARIES_MIB + (_SIGNING_MIB if parcel.signing else 0)
        if self.form == "zip" and parcel.size_mib + libraries > _LIMIT_MIB:
            raise SettingError(
                f"The bundle has {parcel.size_mib:,.0f} MiB; a zip of Lambda's holds {_LIMIT_MIB},"
                f" about {libraries} of which are libraries.",
                fix="add --set form=container, or make the bundle smaller with `sartor shrink`.",
            )
        parcel.put_bundle(folder / "bundle")
        wheel = parcel.put_wheel(folder)
        pinned = [*lean_pins(parcel), f"./{wheel}"]
        files = {
            "requirements.txt": "".join(f"{pin}\n" for pin in pinned),
            "handler.py": fill(
                _HANDLER, {"unreleased": ", unreleased=True" if parcel.flags else ""}
            ),
            "template.yaml": self._template(parcel),
            **(self._zip() if self.form == "zip" else self._container(wheel)),
        }
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
        return self._handed(parcel)

    def _zip(self) -> dict[str, str]:
        blanks = {
            "python": self.python,
            "machine": _MACHINE[self.architecture],
            "limit": _LIMIT_MIB,
            "limit_kib": _LIMIT_MIB * 1024,
        }
        return {"build.sh": fill(_BUILD, blanks), "Makefile": _MAKEFILE}

    def _container(self, wheel: str) -> dict[str, str]:
        text = fill(_DOCKERFILE, {"python": self.python, "wheel": wheel})
        return {"Dockerfile": text, ".dockerignore": _IGNORED}

    def _template(self, parcel: Parcel) -> str:
        """https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/"""
        secrets = self._secrets(parcel)
        variables = dict(parcel.variables) | {name: {"Ref": _logical(name)} for name in secrets}
        document: dict[str, Any] = {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Transform": "AWS::Serverless-2016-10-31",
        }
        if secrets:
            document["Parameters"] = {
                _logical(name): {
                    "Type": "String",
                    "NoEcho": True,
                    "MinLength": 16 if name == KEY else 1,
                    "Description": f"Becomes the environment variable {name}.",
                }
                for name in secrets
            }
        document["Resources"] = {"SartorFunction": self._function(variables)}
        url = {"Fn::GetAtt": ["SartorFunctionUrl", "FunctionUrl"]}
        document["Outputs"] = {"Url": {"Value": url}}
        return to_yaml([document], f"{parcel.name} on AWS Lambda.")

    def _function(self, variables: dict[str, Any]) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "Architectures": [self.architecture],
            "MemorySize": self.memory_mb,
            "Timeout": self.timeout_s,
            "FunctionUrlConfig": {"AuthType": "AWS_IAM" if self.access == "iam" else "NONE"},
        }
        if variables:
            properties["Environment"] = {"Variables": variables}
        if self.form == "container":
            built = {"Dockerfile": "Dockerfile", "DockerContext": ".", "DockerTag": "sartor"}
            properties = {"PackageType": "Image", **properties}
        else:
            built = {"BuildMethod": "makefile"}
            runs = {"Runtime": f"python{self.python}", "Handler": "handler.handler"}
            properties = {"CodeUri": ".", **runs, **properties}
        return {
            "Type": "AWS::Serverless::Function",
            "Metadata": built,
            "Properties": properties,
        }

    def _secrets(self, parcel: Parcel) -> tuple[str, ...]:
        """With IAM the header that a key would come in holds IAM's own signature."""
        return tuple(n for n in parcel.secrets if n != KEY or self.access == "key")

    def _handed(self, parcel: Parcel) -> Handed:
        secrets = self._secrets(parcel)
        given = " ".join(f'{_logical(name)}="${name}"' for name in secrets)
        rows = json.dumps({"rows": json.loads(parcel.question)["inputs"]}, ensure_ascii=False)
        # Beside the folder, which so stays one that only `sartor ship` has written.
        built = f"../{parcel.name}-sam/build"
        steps = (
            Step(f"sam build --build-dir={built}", "put together what the function needs"),
            *new_key(secrets),
            Step(
                f"sam deploy --template-file={built}/template.yaml --stack-name {parcel.name}"
                " --resolve-s3 --capabilities CAPABILITY_IAM"
                + (" --resolve-image-repos" if self.form == "container" else "")
                + (f" --parameter-overrides {given}" if given else ""),
                "deploy it",
            ),
            Step(
                f"sam remote invoke SartorFunction --stack-name {parcel.name}"
                f" --event {shlex.quote(rows)}",
                "ask it; its URL, which the deployment prints, takes POST /v1/predict",
            ),
        )
        notes = [
            "No feedback is kept: send it to a `sartor serve` that has a store.",
            "The URL answers whom IAM allows: requests to it are signed, e.g. by `awscurl`."
            if self.access == "iam"
            else "The URL answers everybody who sends `Authorization: Bearer KEY`.",
        ]
        if self.form == "zip":
            notes.append("Without SAM: `sh build.sh ../package`, then zip what that folder holds.")
        if self.architecture == "arm64":
            notes.append("On arm64 the last digits of probabilities may differ from those judged.")
        return Handed(steps, (*notes, *of_llm(parcel)))


def _logical(name: str) -> str:
    """A variable's name as CloudFormation's letters and digits: SARTOR_API_KEY, SartorApiKey."""
    return "".join(word.capitalize() for word in name.split("_"))
