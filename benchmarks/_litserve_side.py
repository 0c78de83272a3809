# pyright: reportMissingImports=false
"""LitServe's server; a module of its own, since its workers import the class by name."""

import litserve
from _serving_side import MOST, WAIT_S, Answers


class Api(litserve.LitAPI):
    """Labels of texts, in batches."""

    def __init__(self, folder: str, threads: int) -> None:
        super().__init__(max_batch_size=MOST, batch_timeout=WAIT_S)
        self.folder, self.threads = folder, threads

    def setup(self, device: str) -> None:
        self.answers = Answers(self.folder, self.threads)

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, texts: list[str]) -> list[str]:
        return self.answers(list(texts))

    def encode_response(self, label: str) -> dict[str, str]:
        return {"label": label}


def run(port: int, folder: str, threads: int) -> None:
    """Serve until stopped."""
    server = litserve.LitServer(Api(folder, threads), accelerator="cpu", workers_per_device=1)
    server.run(port=port, generate_client_file=False, log_level="error")
