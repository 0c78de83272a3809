"""Google Cloud Functions: one function that answers HTTP, by functions-framework.

https://cloud.google.com/functions/docs; since 2024 they run as Cloud Run functions. A source folder
is deployed and Google builds it, so sartor's wheel lies in it and is installed by its path.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import StringConstraints

from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import new_key, of_llm
from sartor.ship.filling import fill
from sartor.ship.parcel import KEY

_FRAMEWORK = "functions-framework>=3.8,<4"
"""The buildpack adds it by itself, in a version of its choice; so it is said which."""

_ACCOUNT = "-compute@developer.gserviceaccount.com"
"""Ends the name of the account that functions run as, unless the project has another."""
_READER = "roles/secretmanager.secretAccessor"

_MAIN = '''\
"""What functions-framework calls: `answer`, with a Flask request."""

from pathlib import Path

from sartor.serve.function import Asked, Function

FUNCTION = Function.open(Path(__file__).parent / "bundle", threads=@threads@@unreleased@)


def answer(request):
    """Body, status and headers of the reply, as Flask takes them."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    # One byte more than is taken tells that there is too much, however much it is.
    body = request.stream.read(FUNCTION.settings.max_body_bytes + 1)
    reply = FUNCTION.answer(Asked(request.method, request.path, headers, body))
    return reply.body, reply.status, reply.headers
'''


@TARGETS.add
@dataclass(frozen=True, slots=True)
class CloudFunctions:
    """Answers as the server does, in processes that Google starts and stops."""

    summary: ClassVar[str] = "Google Cloud Functions, from source, by gcloud"

    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")] = "europe-west1"
    """Where it runs."""
    memory_mb: Annotated[int, Ge(512), Le(32_768)] = 1_024
    """Memory of one instance."""
    cpus: Annotated[int, Ge(1), Le(8)] = 1
    """Cores of one instance; a pass uses as many threads."""
    concurrency: Annotated[int, Ge(1), Le(1_000)] = 4
    """Requests in progress in one instance before another is started."""
    instances: Annotated[int, Ge(1), Le(1_000)] = 10
    """Most that run at once, which bounds the bill."""
    access: Literal["iam", "key"] = "iam"
    """Who may call it: whom IAM allows, or everybody who has the API key."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        parcel.put_bundle(folder / "bundle")
        wheel = parcel.put_wheel(folder)
        pinned = [*parcel.pins(""), _FRAMEWORK, f"./{wheel}"]
        (folder / "requirements.txt").write_text("".join(f"{p}\n" for p in pinned), "utf-8")
        blanks = {
            "threads": self.cpus,
            "unreleased": ", unreleased=True" if parcel.flags else "",
        }
        (folder / "main.py").write_text(fill(_MAIN, blanks), "utf-8")
        return self._handed(parcel)

    def _handed(self, parcel: Parcel) -> Handed:
        secrets = self._secrets(parcel)
        token = f"${KEY}" if self.access == "key" else "$(gcloud auth print-identity-token)"
        where = f"{parcel.name} --gen2 --region={self.region}"
        steps = (
            *new_key(secrets),
            *(step for name in secrets for step in _kept(parcel, name)),
            *([_reader(parcel, secrets)] if secrets else []),
            Step(self._deploy(parcel), "build and deploy it"),
            Step(
                f"URL=$(gcloud functions describe {where} --format='value(url)')",
                "where it answers",
            ),
            Step(
                f'curl --fail-with-body --header "authorization: Bearer {token}"'
                f" --data {shlex.quote(parcel.question)} $URL/v1/predict",
                "ask it",
            ),
        )
        notes = (
            "No feedback is kept: send it to a `sartor serve` that has a store.",
            "It answers whom IAM allows."
            if self.access == "iam"
            else "It answers everybody who sends `Authorization: Bearer KEY`.",
            "To try it here: `pip install -r requirements.txt` in a new environment, then"
            " `functions-framework --target=answer`.",
        )
        return Handed(steps, (*notes, *of_llm(parcel)))

    def _deploy(self, parcel: Parcel) -> str:
        words = ["gcloud", "functions", "deploy", parcel.name, "--gen2", "--source=."]
        words += [f"--runtime=python{parcel.python.replace('.', '')}", f"--region={self.region}"]
        words += ["--entry-point=answer", "--trigger-http"]
        words += [f"--memory={self.memory_mb}Mi", f"--cpu={self.cpus}"]
        words += [f"--concurrency={self.concurrency}", f"--max-instances={self.instances}"]
        words += [
            "--no-allow-unauthenticated" if self.access == "iam" else "--allow-unauthenticated"
        ]
        if parcel.variables:
            pairs = [f"{name}={value}" for name, value in parcel.variables.items()]
            words += [f"--set-env-vars={','.join(pairs)}"]
        if secrets := self._secrets(parcel):
            pairs = [f"{name}={_secret(parcel, name)}:latest" for name in secrets]
            words += [f"--set-secrets={','.join(pairs)}"]
        return shlex.join(words)

    def _secrets(self, parcel: Parcel) -> tuple[str, ...]:
        """With IAM the header that a key would come in holds IAM's own token."""
        return tuple(n for n in parcel.secrets if n != KEY or self.access == "key")


def _kept(parcel: Parcel, variable: str) -> tuple[Step, Step]:
    """Keep a variable's value in Secret Manager, again where the function was deployed before."""
    name = _secret(parcel, variable)
    return (
        Step(
            f"gcloud secrets describe {name} >/dev/null 2>&1 || gcloud secrets create {name}",
            f"make the secret for what is in {variable}, where there is none yet",
        ),
        Step(
            f'printf %s "${variable}" | gcloud secrets versions add {name} --data-file=-',
            f"keep what is in {variable} there, as its latest version",
        ),
    )


def _reader(parcel: Parcel, secrets: tuple[str, ...]) -> Step:
    """Let the account that the function runs as read its secrets, and nothing else."""
    number = (
        '$(gcloud projects describe "$(gcloud config get-value project)"'
        " --format='value(projectNumber)')"
    )
    member = f'"serviceAccount:{number}{_ACCOUNT}"'
    granted = (
        f"gcloud secrets add-iam-policy-binding {_secret(parcel, name)} --member={member}"
        f" --role={_READER}"
        for name in secrets
    )
    return Step(" && ".join(granted), "let the account that functions run as read the secret")


def _secret(parcel: Parcel, variable: str) -> str:
    """Name of a variable's value in Secret Manager."""
    return f"{parcel.name}-{variable.lower().replace('_', '-')}"
