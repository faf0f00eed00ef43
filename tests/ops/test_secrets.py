"""What a process must have before it starts: it says what is missing at once, instead of waiting for it without end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from driftline.stream.config.sections import Config
from driftline.stream.ops.secrets import MissingSecretError, check_secrets

NOWHERE = "127.0.0.1:1"
LOGIN = {"sasl_mechanism": "PLAIN", "username": "u", "password_env": "DRIFTLINE_TEST_NO_SUCH"}
KAFKA = {"bootstrap": NOWHERE}
REDIS = {"url": f"redis://{NOWHERE}/0"}
CASES = [
    (KAFKA, REDIS | {"password_env": "DRIFTLINE_TEST_NO_SUCH"}, "redis.password_env: there is no environment variable"),
    (KAFKA, {"url": f"rediss://{NOWHERE}/0", "ca_file": "/no/such.pem"}, "redis.ca_file: cannot read /no/such.pem"),
    (KAFKA | LOGIN | {"security_protocol": "SASL_PLAINTEXT"}, REDIS, "kafka.password_env: there is no environment var"),
    (KAFKA | {"security_protocol": "SSL", "ca_file": "/no/such.pem"}, REDIS, "kafka.ca_file: cannot read /no/such.pem"),
]


@pytest.mark.parametrize(("kafka", "redis", "reason"), CASES)
def test_a_password_or_certificate_that_is_missing_is_named(
    kafka: Mapping[str, str], redis: Mapping[str, str], reason: str
) -> None:
    with pytest.raises(MissingSecretError, match=reason):
        check_secrets(Config.model_validate({"kafka": kafka, "redis": redis}))


def test_what_is_no_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    kafka = KAFKA | {"security_protocol": "SSL", "ca_file": str(tmp_path / "ca.pem")}
    with pytest.raises(MissingSecretError, match=r"kafka.ca_file: cannot read .*ca.pem: .*CERTIFICATE"):
        check_secrets(Config.model_validate({"kafka": kafka}))


@pytest.mark.parametrize("command", [["worker"], ["relay", "--to", "stdout"], ["serve"]])
def test_without_the_password_of_kafka_no_process_starts(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "driftline.yaml").write_text(json.dumps({"kafka": CASES[2][0], "redis": REDIS}))
    ended = subprocess.run(
        [sys.executable, "-m", "driftline.stream.cli.main", *command, "-c", "driftline.yaml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.endswith("kafka.password_env: there is no environment variable DRIFTLINE_TEST_NO_SUCH\n")
