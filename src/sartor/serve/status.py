"""How a deployment is: its state, and what its servers counted of each of its models."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sartor.core.tables import now
from sartor.serve import reports
from sartor.serve.deployment import Change, Deployment, Placed
from sartor.serve.figures import Compared, Counts
from sartor.serve.reports import Report


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One bundle of a deployment.

    Args:
        role: live, canary, shadow or previous.
        share: Percent of the users whom it answers.
        counts: Since the oldest report that is kept.
        compared: Of a shadow: with the model that is live now.
    """

    role: str
    bundle: Placed
    share: float
    counts: Counts
    compared: Compared | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """One deployment.

    Args:
        servers: Those that run, the newest first.
    """

    name: str
    change: Change
    models: tuple[ModelStatus, ...]
    servers: tuple[Report, ...]
    at: datetime

    @property
    def behind(self) -> tuple[Report, ...]:
        """Running servers that do not serve the newest change."""
        return tuple(one for one in self.servers if one.number != self.change.number)


def status(deployment: Deployment) -> Status:
    """
    Raises:
        DeploymentError: If nothing is deployed under that name.
        WorkspaceError: If its history is damaged.
    """
    change, found, at = deployment.now(), reports.read(deployment.reports), now()
    models = tuple(_models(change, reports.total(found)))
    running = tuple(one for one in found if one.running(at))
    return Status(deployment.name, change, models, running, at)


def _models(change: Change, totals: reports.Totals) -> Iterator[ModelStatus]:
    shares = {"live": 100 - change.share, "canary": change.share}
    for role, bundle in change.placed.items():
        counts = totals.models.get(bundle.id, Counts())
        pair = (change.live.id, bundle.id)
        compared = totals.shadows.get(pair, Compared()) if role == "shadow" else None
        yield ModelStatus(role, bundle, shares.get(role, 0.0), counts, compared)
    for bundle in change.previous[:1]:
        yield ModelStatus("previous", bundle, 0.0, totals.models.get(bundle.id, Counts()))
