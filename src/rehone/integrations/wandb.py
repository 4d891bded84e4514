"""Tell Weights & Biases of runs and deployments, online or into files that `wandb sync` sends later."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb

from rehone import codec
from rehone.config import Config
from rehone.observers import DEPLOYMENT, facts
from rehone.records import Deployment, RunRecord, RunStatus, short_id

RECORD_FILE = "rehone-run.json"
LONGEST_TAG = 64
HEALED = "heal"
"""The actor of deployments that no run and no person made."""


class WandbTracker:
    """One project's runs."""

    def __init__(self, config: Config) -> None:
        self._config = config
        folder = config.root / config.trackers.wandb_folder
        # W&B puts its files into a folder `wandb` of the one that it is given
        self._folder = folder if folder.name == "wandb" else folder / "wandb"
        self._offline = config.trackers.wandb_mode == "offline"

    def tell_run(self, record: RunRecord, file: bytes) -> str:
        """Log a closed run, once however often it is told."""
        words, numbers = facts.tags(record), facts.metrics(record)
        labels = (str(record.status), words.get("trigger"), words.get("verdict"))
        given = {
            "as_of": record.as_of.isoformat(),
            "seed": record.seed,
            "winner": codec.plain(record.winner) if record.winner else None,
            "config": record.config,
        }
        return self._log(
            record.run_id,
            {"job_type": "run", "tags": _tags(labels), "notes": record.sentence, "config": given},
            ({**numbers}, {**words}),
            (RECORD_FILE, file, 1 if record.status is RunStatus.FAILED else 0),
        )

    def tell_deployment(self, deployment: Deployment) -> str:
        """Log a deployment that no run has told of, such as a rollback by hand; the others stand with their run."""
        if deployment.run_id is not None and deployment.actor != HEALED:
            return f"with run {deployment.run_id}"
        said = f"{deployment.action} of {short_id(deployment.version)} by {deployment.actor}: {deployment.reason}"
        facts_of = {name: value for name, value in codec.plain(deployment).items() if value is not None}
        return self._log(
            re.sub(r"[^\w.-]", "-", f"{self._config.project.name}-{DEPLOYMENT}{deployment.generation}"),
            {"job_type": "deployment", "tags": _tags((str(deployment.action),)), "notes": said, "config": facts_of},
            ({"generation": float(deployment.generation)}, {k: str(v) for k, v in facts_of.items()}),
            ("rehone-deployment.json", codec.encode(deployment), 0),
        )

    def _log(
        self,
        name: str,
        opening: dict[str, Any],
        found: tuple[dict[str, float], dict[str, str]],
        record: tuple[str, bytes, int],
    ) -> str:
        if self._offline and (sent := self._made_offline(name)):
            return sent
        file, data, code = record
        numbers, words = found
        run = wandb.init(
            project=self._config.trackers.wandb_project or self._config.project.name,
            entity=self._config.trackers.wandb_entity,
            id=name,
            name=name,
            resume="allow",
            dir=str(self._made(self._folder.parent)),
            settings=self._settings(),
            **opening,
        )
        run.log(numbers)
        run.summary.update(words)
        path = Path(run.dir) / file
        path.write_bytes(data)
        run.save(str(path), base_path=run.dir, policy="now")
        link = run.url or str(Path(run.dir).parent)
        run.finish(exit_code=code)
        return str(link)

    def _settings(self) -> wandb.Settings:
        """Return settings that tell what Rehone has to tell, and nothing of this machine or its code."""
        return wandb.Settings(
            mode=self._config.trackers.wandb_mode,
            silent=True,
            console="off",
            init_timeout=self._config.trackers.timeout_seconds,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )

    def _made_offline(self, name: str) -> str | None:
        """Return the files of an earlier telling that were sent; take away what was not, to write it whole."""
        for folder in self._earlier(name):
            if any(folder.glob("*.synced")):
                return str(folder)
            shutil.rmtree(folder)
        return None

    def _earlier(self, name: str) -> Iterator[Path]:
        return self._folder.glob(f"offline-run-*-{name}")

    def _made(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _tags(words: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(word[:LONGEST_TAG] for word in words if word)
