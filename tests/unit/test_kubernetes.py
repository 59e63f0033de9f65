"""The manifests for Kubernetes, checked without a cluster."""

import re
import shutil
import subprocess
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate.utils import validate
from ruamel.yaml import YAML
from typer.main import get_command

from scoring.events import ENGAGEMENT_TYPES, TYPE_TOPICS
from stream.cli.main import create_app
from stream.notify.routes_file import read_routes
from stream.settings import settings_help

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
BASE = FOLDER / "base"
SCALING = FOLDER / "keda" / "worker-scaling.yaml"
SECRETS = FOLDER / "secrets.example.yaml"

COMPONENTS = ("worker", "resolver", "exporter", "notifier", "board", "collector")
#: The oldest and the newest version of Kubernetes that the manifests are held to.
VERSIONS = ("1.31", "1.37")
USER = 10_001
#: As long as a worker needs to flush, commit and leave its group, several times over.
GRACE_SECONDS = 30

Json = dict[str, Any]


def yaml_of(path: Path) -> list[Json]:
    return list(YAML(typ="safe", pure=True).load_all(path))


@lru_cache(maxsize=1)
def resources() -> dict[tuple[str, str], Json]:
    """Return (kind, name) -> what the base makes, its ConfigMap left out."""
    found = [each for name in COMPONENTS for each in yaml_of(BASE / f"{name}.yaml")]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def deployment(component: str) -> Json:
    found: Json = resources()["Deployment", f"surgeline-{component}"]["spec"]
    return found


def pod(component: str) -> Json:
    found: Json = deployment(component)["template"]["spec"]
    return found


def container(component: str) -> Json:
    (found,) = pod(component)["containers"]
    return dict(found)


def settings_file() -> dict[str, str]:
    lines = (BASE / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def defaults() -> dict[str, str]:
    return {variable: default for variable, default, _ in settings_help()}


def labels(component: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "surgeline", "app.kubernetes.io/component": component}


def operands(instruction: str) -> list[str]:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    return re.findall(rf"^{instruction} (.+)$", text, re.MULTILINE)


# --- the files


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", [*sorted(BASE.glob("[!k]*.yaml")), SECRETS], ids=lambda p: p.name)
def test_resources_fit_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    for each in yaml_of(path):
        assert validate(each, version, strict=True) == version


def test_every_component_has_a_deployment_a_service_and_a_budget_of_the_same_name() -> None:
    kinds = ("Deployment", "Service", "PodDisruptionBudget")

    assert set(resources()) == {(k, f"surgeline-{c}") for c in COMPONENTS for k in kinds}


def test_no_resource_names_a_namespace() -> None:
    for each in [*resources().values(), *yaml_of(SCALING), *yaml_of(SECRETS)]:
        assert "namespace" not in each["metadata"]


@pytest.mark.parametrize("folder", ["base", "keda"])
def test_every_file_of_a_folder_is_part_of_its_kustomization(folder: str) -> None:
    (kustomization,) = yaml_of(FOLDER / folder / "kustomization.yaml")
    files = {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}

    assert {each for each in kustomization["resources"] if each.endswith(".yaml")} == files
    for each in kustomization["resources"]:
        assert (FOLDER / folder / each).exists()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["base", "keda"])
def test_kustomize_renders_what_fits_the_schemas(folder: str) -> None:
    command = ["kubectl", "kustomize", str(FOLDER / folder)]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr
    made = list(YAML(typ="safe", pure=True).load_all(ran.stdout))
    for each in made:
        if each["kind"] != "ScaledObject":
            validate(each, VERSIONS[-1], strict=True)
    (settings,) = (each for each in made if each["kind"] == "ConfigMap")
    assert settings["data"] == settings_file()
    for each in made:
        if each["kind"] == "Deployment":
            (own,) = each["spec"]["template"]["spec"]["containers"]
            assert own["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]
            assert own["image"].startswith("surgeline:")
            scaled = (folder, each["metadata"]["name"]) == ("keda", "surgeline-worker")
            assert ("replicas" in each["spec"]) is not scaled


def test_image_is_tagged_with_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (kustomization,) = yaml_of(BASE / "kustomization.yaml")
    (image,) = kustomization["images"]

    assert {container(each)["image"] for each in COMPONENTS} == {image["name"]}
    assert image["newTag"] == project["version"]


# --- each component


@pytest.mark.parametrize("component", COMPONENTS)
def test_selectors_find_the_pods_of_their_component_alone(component: str) -> None:
    name = f"surgeline-{component}"
    selectors = [
        deployment(component)["selector"]["matchLabels"],
        resources()["Service", name]["spec"]["selector"],
        resources()["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in spread(component)),
    ]

    assert deployment(component)["template"]["metadata"]["labels"] == labels(component)
    assert [each for each in selectors if each != labels(component)] == []


def spread(component: str) -> list[Json]:
    found: list[Json] = pod(component).get("topologySpreadConstraints", [])
    return found


def test_workers_are_spread_over_zones_and_nodes() -> None:
    assert [each["topologyKey"] for each in spread("worker")] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]


@pytest.mark.parametrize("component", COMPONENTS)
def test_container_runs_a_command_of_the_image(component: str) -> None:
    commands = get_command(create_app()).commands  # type: ignore[attr-defined]  # it is a group

    assert operands("ENTRYPOINT") == ['["surgeline"]']
    assert "command" not in container(component)
    assert container(component)["args"] == [component]
    assert component in commands


@pytest.mark.parametrize("component", COMPONENTS)
def test_ports_are_those_of_the_settings(component: str) -> None:
    (port,) = container(component)["ports"]
    (served,) = resources()["Service", f"surgeline-{component}"]["spec"]["ports"]

    assert str(port["containerPort"]) == defaults()[f"SURGELINE_{component.upper()}_PORT"]
    assert (served["port"], served["targetPort"]) == (port["containerPort"], port["name"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(component)[probe]["httpGet"]["port"] == port["name"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_liveness_asks_for_the_process_and_readiness_for_its_work(component: str) -> None:
    found = container(component)

    assert found["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert found["livenessProbe"]["httpGet"]["path"] == "/healthz"
    # The exporter has no work but answering.
    ready = "/healthz" if component == "exporter" else "/readyz"
    assert found["readinessProbe"]["httpGet"]["path"] == ready


@pytest.mark.parametrize("component", COMPONENTS)
def test_addresses_of_services_do_not_become_settings(component: str) -> None:
    assert f"SURGELINE_{component.upper()}_PORT" in defaults()
    assert pod(component)["enableServiceLinks"] is False


@pytest.mark.parametrize("component", COMPONENTS)
def test_pods_run_as_the_user_of_the_image_with_no_rights_and_nothing_to_write_on(
    component: str,
) -> None:
    security, own = pod(component)["securityContext"], container(component)["securityContext"]

    assert operands("USER") == [f"{USER}:{USER}"]
    assert (security["runAsUser"], security["runAsGroup"]) == (USER, USER)
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod(component)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_must_be_writable_is_and_every_mount_has_its_volume(component: str) -> None:
    volumes = {each["name"]: each for each in pod(component)["volumes"]}
    mounts = {each["mountPath"]: each for each in container(component)["volumeMounts"]}

    assert {each["name"] for each in mounts.values()} == set(volumes)
    for path in ("/tmp", *operands("WORKDIR")[-1:]):
        assert "emptyDir" in volumes[mounts[path]["name"]]


@pytest.mark.parametrize("component", COMPONENTS)
def test_pods_get_time_to_stop_and_bounds_of_memory(component: str) -> None:
    found = container(component)["resources"]

    assert pod(component)["terminationGracePeriodSeconds"] == GRACE_SECONDS
    assert set(found["requests"]) == {"cpu", "memory"}
    assert set(found["limits"]) == {"memory"}


# --- settings and secrets


def test_settings_are_variables_that_surgeline_reads() -> None:
    env = [each for name in COMPONENTS for each in container(name).get("env", [])]
    secret = next(e for e in yaml_of(SECRETS) if e["metadata"]["name"] == "surgeline-worker")
    used = {*settings_file(), *(each["name"] for each in env), *secret["stringData"]}

    assert used <= set(defaults())


def test_every_process_may_have_access_of_its_own() -> None:
    for component in COMPONENTS:
        common, own = container(component)["envFrom"]
        assert common == {"configMapRef": {"name": "surgeline"}}
        assert own == {"secretRef": {"name": f"surgeline-{component}", "optional": True}}


@pytest.mark.parametrize(
    ("component", "variable"),
    [
        ("board", "SURGELINE_BOARD_TOKENS_FILE"),
        ("collector", "SURGELINE_COLLECTOR_KEYS_FILE"),
        ("notifier", "SURGELINE_ROUTES"),
    ],
)
def test_files_that_settings_name_are_mounted_from_a_secret_of_the_example(
    component: str, variable: str
) -> None:
    values = {each["name"]: each["value"] for each in container(component)["env"]}
    path = Path(values[variable])
    mount = next(
        e for e in container(component)["volumeMounts"] if e["mountPath"] == str(path.parent)
    )
    volume = next(each for each in pod(component)["volumes"] if each["name"] == mount["name"])
    example = {each["metadata"]["name"]: each["stringData"] for each in yaml_of(SECRETS)}

    assert path.name in example[volume["secret"]["secretName"]]


def test_example_of_routes_is_one_that_the_notifier_takes(tmp_path: Path) -> None:
    example = next(e for e in yaml_of(SECRETS) if e["metadata"]["name"] == "surgeline-routes")
    for name, text in example["stringData"].items():
        (tmp_path / name).write_text(text.replace("/etc/surgeline/routes", str(tmp_path)))

    routes = read_routes(tmp_path / "routes.toml")

    assert set(routes.routes) == {"crm"}


def test_example_of_secrets_holds_none() -> None:
    secret = re.compile(r"password|secret|tokens$", re.IGNORECASE)
    for each in yaml_of(SECRETS):
        for name, text in each["stringData"].items():
            if secret.search(name):
                assert "CHANGE-ME" in text, name


# --- scaling


def scaling() -> Json:
    (found,) = yaml_of(SCALING)
    spec: Json = found["spec"]
    return spec


def test_workers_are_scaled_up_to_the_number_of_partitions() -> None:
    assert scaling()["scaleTargetRef"] == {"name": "surgeline-worker"}
    assert str(scaling()["maxReplicaCount"]) == settings_file()["SURGELINE_PARTITIONS"]
    assert scaling()["minReplicaCount"] == deployment("worker")["replicas"]


def test_every_busy_topic_has_a_trigger_on_the_lag_of_the_workers_group() -> None:
    triggers = [each["metadata"] for each in scaling()["triggers"]]
    busy = {TYPE_TOPICS[type_] for type_ in ENGAGEMENT_TYPES}

    assert {each["type"] for each in scaling()["triggers"]} == {"kafka"}
    assert {each["topic"] for each in triggers} == busy
    assert len(triggers) == len(busy)
    for each in triggers:
        assert each["consumerGroup"] == defaults()["SURGELINE_GROUP"]
        assert each["bootstrapServers"] == settings_file()["SURGELINE_KAFKA_URL"]
        assert all(isinstance(value, str) for value in each.values())


# --- the runbook


def test_runbook_names_folders_that_exist() -> None:
    text = (ROOT / "deploy" / "README.md").read_text()
    section = text.partition("## On Kubernetes")[2].partition("\n## ")[0]
    applied = re.findall(r"^    kubectl apply -k (\S+)", section, re.MULTILINE)

    assert applied
    assert [each for each in applied if not (ROOT / each).exists()] == []
