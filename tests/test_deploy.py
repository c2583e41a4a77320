"""The image and the compose file name what exists: commands, settings, paths, services."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from app.cli import app
from app.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ROLES = {"migrate", "api", "dispatcher", "predictor", "worker"}


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def _arguments(name: str) -> list[str]:
    return [argument for instruction, argument in _instructions() if instruction == name]


def _stages() -> list[list[tuple[str, str]]]:
    stages: list[list[tuple[str, str]]] = []
    for instruction in _instructions():
        if instruction[0] == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    return stages


def _commands() -> set[str]:
    return set(typer.main.get_command(app).commands)


def _settings() -> set[str]:
    return {f"WARMSTART_{name.upper()}" for name in Settings.model_fields}


def test_every_copied_path_exists_and_is_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for argument in _arguments("COPY") if "--from" not in argument for path in argument.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_our_code_is_built_from_constraints_and_the_runtime_stage_has_no_build_tools() -> None:
    build, runtime = _stages()
    installs = [argument for name, argument in build if name == "RUN" and "pip install" in argument]
    assert all("-c constraints.txt" in argument for argument in installs if "--no-deps" not in argument)
    assert ("ARG", 'TORCH_INDEX=""') in build
    assert any('--index-url "$TORCH_INDEX" torch' in argument for argument in installs)
    assert not any("pip" in argument for name, argument in runtime if name == "RUN")


def test_the_image_runs_as_an_ordinary_user_that_owns_its_folders() -> None:
    runtime = _stages()[-1]
    setup = next(argument for name, argument in runtime if name == "RUN")
    assert [argument for name, argument in runtime if name == "USER"] == ["warmstart"]
    assert "useradd --uid 10001" in setup
    assert "--owner warmstart --group warmstart --mode 0700 /data /scratch" in setup
    assert runtime.index(("USER", "warmstart")) < runtime.index(("CMD", '["api"]'))


def test_every_variable_is_a_setting() -> None:
    in_image = set(re.findall(r"\bWARMSTART_[A-Z_]+(?==)", " ".join(_arguments("ENV"))))
    in_compose = {name for service in OURS.values() for name in service["environment"]}
    assert in_image | in_compose <= _settings()
    assert in_image == {"WARMSTART_DATA_DIR", "WARMSTART_SCRATCH_DIR", "WARMSTART_HOST", "WARMSTART_PORT"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_role_of_the_image_is_a_command(name: str) -> None:
    service = OURS[name]
    assert service["command"] == [name]
    assert name in _commands()
    assert service["build"]["args"] == {"TORCH_INDEX": "${TORCH_INDEX:-}"}
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == ["blobs:/data"]


def test_all_roles_are_there_and_wait_for_what_they_need() -> None:
    assert set(OURS) == ROLES
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ROLES - {"migrate"}:
        assert SERVICES[name]["depends_on"] == {
            "postgres": {"condition": "service_healthy"},
            "valkey": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }
    assert all("healthcheck" in service for name, service in SERVICES.items() if name != "migrate")
    assert all("restart" in service for service in SERVICES.values())


def test_every_health_check_of_ours_calls_a_command_or_a_port_that_exists() -> None:
    for service in (SERVICES[name] for name in ROLES - {"migrate"}):
        _, program, *arguments = service["healthcheck"]["test"]
        if program == "warmstart":
            assert arguments[0] in _commands()
        else:
            compile(arguments[1], "healthcheck", "exec")
            assert re.search(r"127\.0\.0\.1:(8765/readyz|8766/healthz)", arguments[1])


def test_addresses_agree() -> None:
    port = Settings.model_fields["port"].default
    assert _arguments("EXPOSE") == [str(port)]
    assert SERVICES["api"]["ports"] == [f"${{WARMSTART_PUBLISH:-127.0.0.1:{port}}}:{port}"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]
    assert SERVICES["api"]["environment"]["WARMSTART_PREDICTOR_URL"] == "http://predictor:8766"
    assert SERVICES["predictor"]["environment"]["WARMSTART_PREDICTOR_URL"] == "http://0.0.0.0:8766"
    shared = SERVICES["api"]["environment"]
    assert "@postgres:5432/" in shared["WARMSTART_DATABASE_URL"]
    assert "@valkey:6379/" in shared["WARMSTART_BROKER_URL"]


def test_both_sides_read_one_password_and_no_other_secret_is_written_down() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    defaults = set(re.findall(r"\$\{(\w*PASSWORD)(?::-([^}]*))?\}", text))
    assert defaults == {("POSTGRES_PASSWORD", "only-for-local-use"), ("VALKEY_PASSWORD", "only-for-local-use")}
    assert "${POSTGRES_PASSWORD" in SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert "${VALKEY_PASSWORD" in SERVICES["valkey"]["command"][-1]


def test_workers_can_be_scaled_and_volumes_are_declared() -> None:
    assert "container_name" not in SERVICES["worker"]
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def test_images_are_pinned_to_a_major_version() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    assert images == ["pgvector/pgvector:pg18", "valkey/valkey:9"]
    assert all(fnmatch(argument, "python:3.*-slim*") for argument in _arguments("FROM"))


def test_every_folder_of_code_is_a_package_so_that_an_installed_copy_has_it() -> None:
    folders = {path.parent for name in ("app", "workers", "migrations") for path in (ROOT / name).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
