"""The files that deploy Surgeline, checked without a Docker daemon."""

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stream.settings import settings_help

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PRODUCTION_LOCK = ROOT / "deploy" / "requirements.lock"
BUILD_LOCK = ROOT / "deploy" / "build-requirements.lock"

#: Services without a health check of their own in docker-compose.yml, and why.
HEALTH_CHECKED_ELSEWHERE = {"worker": "the image's own HEALTHCHECK is the worker's"}

#: Services that run Surgeline's own image.
OURS = ("worker", "resolver", "exporter", "board", "collector", "notifier")
#: Services that let in only whom a file names, and the variable that names the file.
GUARDED = {
    "board": "SURGELINE_BOARD_TOKENS_FILE",
    "collector": "SURGELINE_COLLECTOR_KEYS_FILE",
}
#: What runs only when it is asked for, since it needs files that only its user can write.
PROFILES = {"notifier": ["notify"], "alertmanager": ["alertmanager"]}

#: What a reader of Compose files puts in for ${NAME:-default}.
INTERPOLATION = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")
PINNED_IMAGE = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9-]+)?(@sha256:[0-9a-f]{64})?")
LOCKED = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ \\]+)", re.MULTILINE)


def yaml_of(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml_of(COMPOSE_FILE)["services"]
    return found


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, continued lines joined, ARG defaults filled in."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    for name, value in re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE):
        text = text.replace(f"${{{name}}}", value)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def operands(instruction: str) -> list[str]:
    return [rest for word, rest in instructions() if word == instruction]


def locked(path: Path) -> set[tuple[str, str]]:
    return {(found["name"], found["version"]) for found in LOCKED.finditer(path.read_text())}


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", each)[0].lower().replace("_", "-") for each in requirements}


def filled_in(text: str) -> str:
    """Return *text* as Compose reads it when nothing is set."""
    return INTERPOLATION.sub(lambda found: found["default"], text)


def started(name: str, file: Path) -> str:
    """Run what the container of *name* runs, without its server; return what it says on stdout."""
    (line,) = services()[name]["command"]
    before, _, server = line.replace("$$", "$").rpartition("exec ")
    assert server == f"surgeline {name}"
    path = f"{Path(sys.executable).parent}:{os.defpath}"
    environment = {"PATH": path, GUARDED[name]: str(file)}
    command = [*services()[name]["entrypoint"], before]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# --- the Compose file


def test_compose_file_follows_the_compose_specification() -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(COMPOSE_FILE)]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def docker_compose() -> list[str]:
    """Return the command of Docker Compose 2, else that of its first version; skip without."""
    for command in (["docker", "compose"], ["docker-compose"]):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [*command, "version"], capture_output=True, timeout=30, check=False
            )
            if done.returncode == 0:
                return command
    pytest.skip("neither docker compose nor docker-compose is installed")


def as_the_first_compose_reads_it() -> str:
    """Return the Compose file without the two words that are younger than docker-compose 1."""
    text = COMPOSE_FILE.read_text()
    text = re.sub(r"^name: .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^ +bind:\n +create_host_path: .*\n", "", text, flags=re.MULTILINE)


def test_docker_compose_itself_reads_the_compose_file() -> None:
    command = docker_compose()
    text = COMPOSE_FILE.read_text() if len(command) == 2 else as_the_first_compose_reads_it()
    place = ["--project-directory", str(ROOT), "-f", "-"]
    profiles = [f"--profile={each}" for (each,) in PROFILES.values()]

    ran = subprocess.run(
        [*command, *profiles, *place, "config"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert set(YAML(typ="safe", pure=True).load(ran.stdout)["services"]) == set(services())


def test_every_service_names_an_image_of_one_exact_version() -> None:
    loose = {
        name: service["image"]
        for name, service in services().items()
        if not PINNED_IMAGE.fullmatch(service["image"])
    }

    assert loose == {}


def test_our_image_is_tagged_with_the_version_of_the_package() -> None:
    ours = {services()[name]["image"] for name in OURS}

    assert ours == {f"surgeline:{project()['version']}"}


def test_every_service_is_health_checked() -> None:
    unchecked = {name for name, service in services().items() if "healthcheck" not in service}

    assert unchecked == set(HEALTH_CHECKED_ELSEWHERE)
    assert len(operands("HEALTHCHECK")) == 1


def test_every_published_port_is_bound_to_loopback() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_service_comes_back_after_a_crash() -> None:
    assert {service["restart"] for service in services().values()} == {"unless-stopped"}


def test_every_service_gives_up_the_privileges_of_root() -> None:
    for service in services().values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_no_service_runs_as_root() -> None:
    users = {name: str(service["user"]) for name, service in services().items()}

    assert {
        name for name, user in users.items() if user.split(":")[0] in ("", "0", "root")
    } == set()
    assert {users[name] for name in OURS} == set(operands("USER"))


def test_every_service_has_a_bound_on_its_memory() -> None:
    limits = {name: filled_in(service["mem_limit"]) for name, service in services().items()}

    assert {name for name, limit in limits.items() if not re.fullmatch(r"\d+[mg]", limit)} == set()


def test_redis_may_hold_a_second_copy_while_its_file_is_rewritten() -> None:
    words = services()["redis"]["command"]
    largest = filled_in(words[words.index("--maxmemory") + 1]).removesuffix("b")
    limit = filled_in(services()["redis"]["mem_limit"])

    assert (largest[-1], limit[-1]) == ("g", "g")
    assert int(limit[:-1]) > 2 * int(largest[:-1])


def test_only_what_needs_files_of_its_user_waits_for_a_profile() -> None:
    found = {name: each["profiles"] for name, each in services().items() if "profiles" in each}

    assert found == PROFILES


@pytest.mark.parametrize("fixed", ["container_name", "ports"])
def test_worker_can_be_scaled(fixed: str) -> None:
    assert fixed not in services()["worker"]


@pytest.mark.parametrize("name", ["worker", "exporter", "board"])
def test_our_processes_start_once_kafka_and_redis_are_healthy(name: str) -> None:
    healthy = {"condition": "service_healthy"}

    assert services()[name]["depends_on"] == {"kafka": healthy, "redis": healthy}


@pytest.mark.parametrize("name", ["notifier", "collector"])
def test_what_needs_kafka_alone_starts_once_it_is_healthy(name: str) -> None:
    assert services()[name]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_notifier_reads_its_routes_and_cannot_write_them() -> None:
    notifier = services()["notifier"]
    (mount,) = notifier["volumes"]

    assert notifier["environment"]["SURGELINE_ROUTES"] == f"{mount['target']}/routes.toml"
    assert mount["read_only"]
    assert not mount["bind"]["create_host_path"]


@pytest.mark.parametrize("name", GUARDED)
def test_who_is_let_in_is_kept_in_a_volume(name: str) -> None:
    service = services()[name]
    target = service["volumes"][0].partition(":")[2]

    assert service["environment"][GUARDED[name]].startswith(f"{target}/")
    assert target not in service["tmpfs"]


@pytest.mark.parametrize("name", GUARDED)
def test_a_first_start_makes_a_file_that_lets_nobody_in_and_shows_no_secret(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"

    shown = started(name, file)

    assert re.fullmatch(r"unused:(reader|server):[0-9a-f]{64}\n", file.read_text())
    assert shown == ""


@pytest.mark.parametrize("name", GUARDED)
def test_later_starts_leave_the_file_alone(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    started(name, file)
    first = file.read_text()

    started(name, file)

    assert file.read_text() == first


@pytest.mark.parametrize(
    "name", ["kafka", "redis", "board", "collector", "prometheus", "alertmanager", "grafana"]
)
def test_what_must_survive_lies_in_a_named_volume(name: str) -> None:
    mounted = {volume.partition(":")[0] for volume in services()[name]["volumes"]}

    assert f"{name}-data" in mounted & set(yaml_of(COMPOSE_FILE)["volumes"])


def test_kafka_creates_no_topic_by_itself() -> None:
    assert services()["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_programs_on_the_host_are_sent_back_to_the_port_they_came_by() -> None:
    kafka = services()["kafka"]
    external = kafka["ports"][0].rpartition(":")[0]

    assert kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].endswith(f"EXTERNAL://{external}")


def test_redis_writes_to_disk_and_evicts_nothing() -> None:
    words = services()["redis"]["command"]
    options = dict(zip(words[::2], words[1::2], strict=True))

    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "--maxmemory" in options


def test_example_environment_lists_every_variable_with_its_default() -> None:
    used = {m["name"]: m["default"] for m in INTERPOLATION.finditer(COMPOSE_FILE.read_text())}
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert listed == used


def test_compose_sets_only_variables_that_surgeline_reads() -> None:
    known = {variable for variable, _, _ in settings_help()}

    for name in OURS:
        assert set(services()[name]["environment"]) <= known


def test_our_processes_have_the_same_settings_and_a_few_of_their_own() -> None:
    common = services()["worker"]["environment"]
    own = {name: set(services()[name]["environment"].items() - common.items()) for name in OURS}

    assert all(common.items() <= services()[name]["environment"].items() for name in OURS)
    assert {name: sorted(variable for variable, _ in each) for name, each in own.items()} == {
        "worker": [],
        "resolver": [],
        "exporter": [],
        "board": ["SURGELINE_BOARD_HOST", "SURGELINE_BOARD_TOKENS_FILE"],
        "collector": ["SURGELINE_COLLECTOR_HOST", "SURGELINE_COLLECTOR_KEYS_FILE"],
        "notifier": ["SURGELINE_ROUTES"],
    }


def test_compose_offers_the_defaults_that_surgeline_has() -> None:
    defaults = {variable: default for variable, default, _ in settings_help()}
    offered = {m["name"]: m["default"] for m in INTERPOLATION.finditer(COMPOSE_FILE.read_text())}
    ours = {name: value for name, value in offered.items() if name.startswith("SURGELINE_")}

    assert ours == {name: defaults[name] for name in ours}


# --- the image


def test_stages_start_from_images_of_one_exact_version() -> None:
    bases = [base.split()[0] for base in operands("FROM")]

    assert bases
    assert [base for base in bases if not PINNED_IMAGE.fullmatch(base)] == []


def test_image_runs_surgeline_as_an_ordinary_user() -> None:
    assert operands("USER") == ["10001:10001"]
    assert operands("ENTRYPOINT") == ['["surgeline"]']
    assert instructions().index(("USER", "10001:10001")) > instructions().index(
        ("COPY", "--from=build /opt/surgeline /opt/surgeline")
    )


def test_build_context_holds_what_the_image_is_made_of_and_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for copy in operands("COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }

    assert next(rule for rule in rules if not rule.startswith("#")) == "*"
    assert kept == copied


@pytest.mark.parametrize("lock", [PRODUCTION_LOCK, BUILD_LOCK], ids=lambda path: path.name)
def test_image_installs_only_what_has_a_hash(lock: Path) -> None:
    requirements = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]

    assert requirements
    assert [each.split()[0] for each in requirements if "--hash=sha256:" not in each] == []


@pytest.mark.parametrize("lock", [PRODUCTION_LOCK, BUILD_LOCK], ids=lambda path: path.name)
def test_locks_name_no_place_to_download_from(lock: Path) -> None:
    assert re.findall(r"\S*://\S*|^--(?!hash).*", lock.read_text(), re.MULTILINE) == []


def test_image_holds_every_dependency_and_of_the_extras_tracing_alone() -> None:
    in_image = {name for name, _ in locked(PRODUCTION_LOCK)}
    extras = project()["optional-dependencies"]
    others = [each for name, group in extras.items() if name != "tracing" for each in group]

    assert names_of(project()["dependencies"]) <= in_image
    assert names_of(extras["tracing"]) <= in_image
    assert names_of(others) & in_image == set()


def test_image_holds_the_versions_that_the_tests_run_on() -> None:
    assert locked(PRODUCTION_LOCK) <= locked(ROOT / "requirements.lock")


def test_scraped_ports_are_those_of_the_image_and_of_the_settings() -> None:
    defaults = {variable: default for variable, default, _ in settings_help()}

    assert operands("EXPOSE") == ["9101 9102"]
    assert defaults["SURGELINE_WORKER_PORT"] == "9101"
    assert defaults["SURGELINE_EXPORTER_PORT"] == "9102"
