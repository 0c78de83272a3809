"""Deploy, promote, roll back, withdraw: what is put in place is verified first.

What is live may only be replaced by a bundle that clients can go on asking: the same inputs and the
same labels, unless the caller says that clients follow. Whatever changes the live bundle takes away
the canary and the shadow, which were weighed against the one that was live then.
"""

from pathlib import Path
from typing import Literal

from sartor.bundle import Manifest, key_asked, open_bundle
from sartor.bundle.folder import read_manifest
from sartor.core.errors import BundleError, DeploymentError, SettingError
from sartor.serve.deployment import Change, Deployment, Placed, Step, contract
from sartor.serve.runtime import asks_llm, load

_SHOWN = 5


def deploy(
    deployment: Deployment,
    bundle: Path,
    *,
    canary: float | None = None,
    shadow: bool = False,
    unreleased: bool = False,
    new_contract: bool = False,
) -> Change:
    """Make a bundle live, or put it beside the live one.

    Args:
        deployment: Made when it is not there yet.
        bundle: Its folder.
        canary: Percent of the users whom it answers, above 0 and below 100; None to make it live.
        shadow: Let it answer copies that nobody sees.
        unreleased: Take it although its need was not shown to be met.
        new_contract: Take it although its inputs or labels are not those of the live bundle.

    Raises:
        BundleError: If it is damaged, does not run here, or is unreleased and not allowed.
        DeploymentError: If there is no live bundle to stand beside, or its contract is another.
        SettingError: If the share cannot be one.
    """
    if canary is not None and (shadow or not 0 < canary < 100):
        raise SettingError(
            "One bundle cannot be canary and shadow at once."
            if shadow
            else f"A canary's share must be above 0 and below 100 percent. Got {canary:g}.",
            fix="choose one of the two." if shadow else "leave --canary out to make it live.",
        )
    manifest = verify(bundle, unreleased=unreleased)
    placed = deployment.place(bundle, manifest, unreleased=unreleased)

    def decide(before: Change | None) -> Step:
        if before is None:
            if canary is not None or shadow:
                raise DeploymentError(
                    f"{deployment.name!r} has no live bundle that another could stand beside.",
                    fix=f"make one live first: sartor deploy {bundle}.",
                )
            return Step("deploy", placed)
        if placed.contract != before.live.contract and not new_contract:
            raise _other_contract(deployment, before.live, manifest)
        return _beside(before, placed, canary, shadow)

    return deployment.change(decide)


def promote(deployment: Deployment, which: Literal["canary", "shadow"] | None = None) -> Change:
    """Make the canary live, or the shadow where there is no canary.

    Raises:
        DeploymentError: If there is neither, or not the one that is asked for, or the deployment
            is changed at the same time.
        BundleError: If it is damaged by now.
    """
    seen = deployment.now()
    chosen = _promoted(deployment, seen, which)
    _check(deployment, chosen)
    return deployment.change(
        lambda before: Step("promote", chosen, _earlier(_still(deployment, seen, before), chosen))
    )


def rollback(deployment: Deployment) -> Change:
    """Put the bundle back that was live before; canary and shadow go.

    Raises:
        DeploymentError: If none was, or the deployment is changed at the same time.
        BundleError: If it is damaged or gone by now.
    """
    seen = deployment.now()
    back = _before_live(deployment, seen)
    _check(deployment, back)
    return deployment.change(
        lambda before: Step("rollback", back, _still(deployment, seen, before).previous[1:])
    )


def withdraw(deployment: Deployment) -> Change:
    """Take canary and shadow away; what is live stays.

    Raises:
        DeploymentError: If there is neither.
    """

    def decide(before: Change | None) -> Step:
        now = before or deployment.now()
        if now.canary is None and now.shadow is None:
            raise DeploymentError(
                f"{deployment.name!r} has neither a canary nor a shadow.",
                fix="to leave the live bundle, use sartor rollback or sartor deploy.",
            )
        return Step("withdraw", now.live, now.previous)

    return deployment.change(decide)


def verify(folder: Path, *, unreleased: bool) -> Manifest:
    """Read every file, load the model and let it answer once.

    A bundle that asks a language model is only read: whether it may ask is the server's to say.

    Raises:
        BundleError: If it is damaged, does not run here, is unreleased and not allowed, or is not
            signed by the key that SARTOR_VERIFY_KEY names.
    """
    bundle = open_bundle(folder, verify_key=key_asked(None))
    if not bundle.manifest.released and not unreleased:
        raise BundleError(
            f"{folder} is not released: its need is unmet or unproven.",
            fix="add --unreleased to deploy it all the same.",
        )
    if not asks_llm(bundle):
        load(folder, unreleased="allow", verify_key="").try_out()
    return bundle.manifest


def check_id(folder: Path, placed: Placed, found: str) -> None:
    """
    Raises:
        BundleError: If the folder holds another bundle than the one that was deployed.
    """
    if found != placed.id:
        raise BundleError(
            f"{folder} holds the bundle {found[:12]}, not {placed.id[:12]}, which was deployed.",
            fix="deploy the folder again, or put the bundle back.",
        )


def _check(deployment: Deployment, placed: Placed) -> None:
    folder = deployment.folder_of(placed)
    check_id(folder, placed, verify(folder, unreleased=placed.unreleased).id)


def _beside(before: Change, placed: Placed, canary: float | None, shadow: bool) -> Step:
    same, live, previous = placed.id == before.live.id, before.live, before.previous
    if not shadow and canary is None:
        return Step("deploy", placed, previous if same else (live, *previous))
    if same:
        raise DeploymentError(
            f"The bundle {placed.id[:12]} is live already.",
            fix="name another one to stand beside it.",
        )
    if shadow:
        return Step("shadow", live, previous, before.canary, before.share, placed)
    return Step("canary", live, previous, placed, canary or 0.0, before.shadow)


def _still(deployment: Deployment, seen: Change, before: Change | None) -> Change:
    """The state that the caller looked at; two who roll back at once must not go back twice."""
    if before is None or before.number != seen.number:
        by = f", by {before.who}" if before else ""
        raise DeploymentError(
            f"{deployment.name!r} was changed at the same time{by}.",
            fix="look at it again: sartor deployments.",
        )
    return before


def _promoted(
    deployment: Deployment, now: Change, which: Literal["canary", "shadow"] | None
) -> Placed:
    asked = {"canary": now.canary, "shadow": now.shadow}
    found = asked[which] if which else now.canary or now.shadow
    if found is None:
        raise DeploymentError(
            f"{deployment.name!r} has no {which or 'canary and no shadow'} to promote.",
            fix="deploy one first: sartor deploy BUNDLE --canary 10%.",
        )
    return found


def _before_live(deployment: Deployment, now: Change) -> Placed:
    if not now.previous:
        also = " `sartor withdraw` takes a canary or a shadow away." if len(now.placed) > 1 else ""
        raise DeploymentError(
            f"{deployment.name!r} has no earlier bundle to go back to.",
            fix=f"deploy the one that you want: sartor deploy BUNDLE.{also}",
        )
    return now.previous[0]


def _earlier(now: Change, chosen: Placed) -> tuple[Placed, ...]:
    return now.previous if chosen.id == now.live.id else (now.live, *now.previous)


def _other_contract(deployment: Deployment, live: Placed, new: Manifest) -> DeploymentError:
    return DeploymentError(
        f"Clients of {deployment.name!r} would break: {_difference(deployment, live, new)}.",
        fix="add --new-contract once they can take it, or deploy it under another --name.",
    )


def _difference(deployment: Deployment, live: Placed, new: Manifest) -> str:
    """What another contract changes, in words, as far as the live bundle can still be read."""
    folder = deployment.folder_of(live)
    try:
        old = read_manifest(folder)
    except BundleError:
        return f"{new.name} has other labels or inputs than the live bundle, whose folder is gone"
    if contract(old) != live.contract:
        return f"{new.name} has other labels or inputs than the live bundle"
    gone = sorted({*old.outputs} - {*new.outputs})
    more = sorted({*new.outputs} - {*old.outputs})
    parts = [
        *([f"the labels {_some(gone)} go"] if gone else []),
        *([f"the labels {_some(more)} are new"] if more else []),
        *([f"the inputs become {', '.join(new.inputs)}"] if old.inputs != new.inputs else []),
        *([f"the task becomes {new.task}"] if old.task != new.task else []),
    ]
    return ", ".join(parts)


def _some(labels: list[str]) -> str:
    rest = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ", ".join(repr(label)[:80] for label in labels[:_SHOWN]) + rest
