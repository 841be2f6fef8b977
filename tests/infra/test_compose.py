"""config/compose: held to the Compose specification, and to what the image, the settings, the stand-in and the dashboards say of the same things."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import psycopg
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

import compose_file
from compose_file import ROOT, Service, aliases, built, mounts, services, stages
from earmark import __version__
from earmark.cli import parser
from earmark.local.aws import AwsStandIn, credentials
from earmark.local.database import _installed_binaries, create_database, drop_database
from earmark.settings import load

FOLDER = compose_file.FILE.parent
SERVICES = services()
ONCE = {"migrate", "reader"}


def provisioned(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "grafana" / name).read_text(encoding="utf-8"))


def sources() -> dict[str, dict[str, Any]]:
    return {source["uid"]: source for source in provisioned("datasources.yaml")["datasources"]}


def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(get_builtin_schema("vendor.compose-spec"))


# ------------------------------------------------------------------------------------------------ the file


def test_compose_takes_it() -> None:
    assert [error.message for error in schema().iter_errors(compose_file.document())] == []


def test_a_misspelt_key_is_not_taken() -> None:
    said = compose_file.document()
    said["services"]["daemon"] = {**said["services"]["daemon"], "comand": []}
    assert [error.message for error in schema().iter_errors(said)] != []


def test_all_that_was_promised_is_there_and_production_starts_after_its_migration() -> None:
    assert set(SERVICES) == {"database", "migrate", "reader", "surroundings", "daemon", "prometheus", "grafana"}
    order = list(SERVICES)
    assert order.index("database") < order.index("migrate") < order.index("surroundings") < order.index("daemon")
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            healthy = "healthcheck" in SERVICES[needed]
            assert how["condition"] == ("service_completed_successfully" if needed in ONCE else "service_healthy" if healthy else "service_started"), name


@pytest.mark.parametrize("name, service", SERVICES.items())
def test_an_image_has_an_exact_tag_and_names_no_registry(name: str, service: Service) -> None:
    owner, _, tag = service["image"].rpartition(":")
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-[a-z]+)?", tag)
    assert not set(owner.split("/")[0]) & set(".:")
    if "build" in service:
        assert tag == __version__
        assert service["pull_policy"] == "build"  # nobody's image of the same name is taken in its place
        assert (FOLDER / service["build"]["context"]).resolve() == ROOT
        assert service["build"]["target"] in stages()


@pytest.mark.parametrize("name, service", SERVICES.items())
def test_nothing_can_be_gained_inside_and_nothing_is_reached_from_elsewhere(name: str, service: Service) -> None:
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert service["mem_limit"] and service["pids_limit"]
    assert set(service) & {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices", "userns_mode"} == set()
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", []))
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert all(mount.endswith(":ro") for mount in service.get("volumes", []) if mount.startswith("."))


def test_nobody_runs_as_root() -> None:
    """Prometheus's and Grafana's images have users of their own; PostgreSQL's would begin as root."""
    assert [name for name, service in SERVICES.items() if service["image"].startswith("postgres:") and service.get("user") != "postgres"] == []
    for service in built().values():
        assert re.search(r"^USER 10001:10001$", stages()[service["build"]["target"]], flags=re.MULTILINE)


def test_files_that_are_mounted_exist_and_volumes_are_declared_and_used() -> None:
    outside = [one for service in SERVICES.values() for one in mounts(service).values()]
    assert [path for path in outside if isinstance(path, Path) and not path.exists()] == []
    assert {volume for volume in outside if isinstance(volume, str)} == set(compose_file.document()["volumes"])


def test_a_port_that_is_taken_can_be_another_one_and_each_has_a_name_of_its_own() -> None:
    names = re.findall(r"\$\{(\w+_PORT):-", compose_file.FILE.read_text(encoding="utf-8"))
    moved = services({name: str(20_000 + number) for number, name in enumerate(names)})
    outside = [port.split(":")[1] for service in moved.values() for port in service.get("ports", [])]
    assert sorted(outside) == [str(20_000 + number) for number in range(len(names))]


# ------------------------------------------------------------------------------------------------ ours


@pytest.mark.parametrize("name, service", built().items())
def test_settings_in_its_environment_exist_and_its_command_is_one(name: str, service: Service) -> None:
    settings = load(environ={key: value for key, value in service["environment"].items() if key.startswith("EARMARK_")}).settings
    assert settings.database.dsn.get_secret_value() == "postgresql://earmark@database/earmark"
    strangers = {key for key in service["environment"] if not key.startswith(("EARMARK_", "AWS_"))}
    assert strangers == {"PGPASSWORD"}
    parser().parse_args(service["command"])


def test_the_daemon_is_the_one_of_production() -> None:
    daemon, migrate, task = SERVICES["daemon"], SERVICES["migrate"], (ROOT / "infra" / "cdk" / "service.py").read_text(encoding="utf-8")
    assert list(stages())[-1] == daemon["build"]["target"] == migrate["build"]["target"]
    assert "HEALTHCHECK" in stages()["daemon"] and "healthcheck" not in daemon
    (roles,) = re.findall(r"^    return (\(.*\))$", (ROOT / "infra" / "cdk" / "canary.py").read_text(encoding="utf-8").partition("def roles")[2], re.MULTILINE)
    assert 'command=["run", "--role", ",".join(roles)]' in task
    assert daemon["command"] == ["run", "--role", ",".join(re.findall(r'"(\w+)"', roles))]
    assert migrate["command"] == ["db", "migrate"]
    (stop_s,) = re.findall(r"^STOP_S = (\d+)$", task, flags=re.MULTILINE)
    assert daemon["stop_grace_period"] == f"{stop_s}s"
    assert re.search(r"^CPU, MEMORY_MIB = \d+, 2048$", task, flags=re.MULTILINE) and daemon["mem_limit"] == "2g"
    assert compose_file.ports(daemon) == {load(environ={}).settings.metrics.port}
    assert "ports" not in daemon  # of this machine: there may be more than one of it


def test_the_daemon_finds_what_the_stand_in_has_built(aws: AwsStandIn) -> None:
    deployed, said = aws.deploy(), SERVICES["daemon"]["environment"]
    elsewhere = {key: value.replace(aws.endpoint_url, "http://aws:4566") for key, value in deployed.environment().items()}
    assert {key: value for key, value in said.items() if key in elsewhere and value != elsewhere[key]} == {}
    assert set(deployed.environment()) - set(said) <= set(credentials(""))
    assert {key for key in said if key.startswith("AWS_")} <= set(credentials(""))
    settings = load(environ={key: value for key, value in said.items() if key.startswith("EARMARK_")}).settings
    assert settings.catalogue.place.startswith(f"s3://{deployed.media_bucket}/") and settings.check.place.startswith(f"s3://{deployed.media_bucket}/")


def test_the_surroundings_listen_where_others_look_for_them() -> None:
    around, daemon = SERVICES["surroundings"], SERVICES["daemon"]["environment"]
    typed = parser().parse_args(around["command"])
    assert (typed.aws, typed.origin) == ("0.0.0.0:4566", "0.0.0.0:8000")
    assert compose_file.ports(around) == {4566, 8000}
    assert typed.origin_known_as == daemon["EARMARK_HLS__ALLOW_PRIVATE"] == "origin:8000"
    assert daemon["AWS_ENDPOINT_URL"] == "http://aws:4566"
    assert {"aws", "origin"} <= aliases("surroundings", around)


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "healthcheck" in service])
def test_health_is_asked_of_the_container_itself_with_what_is_in_it(name: str) -> None:
    kind, program, *arguments = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", {"database": "pg_isready", "surroundings": "python", "prometheus": "wget", "grafana": "wget"}[name])
    assert "127.0.0.1" in " ".join(arguments)
    if program == "python":
        compile(arguments[1], "healthcheck", "exec")


# ------------------------------------------------------------------------------------------------ what looks at it


def test_a_data_source_asks_a_service_that_is_there() -> None:
    assert set(sources()) == {"earmark-prometheus", "earmark-postgresql"}
    prometheus, postgresql = sources()["earmark-prometheus"], sources()["earmark-postgresql"]
    assert (prometheus["type"], postgresql["type"]) == ("prometheus", "grafana-postgresql-datasource")
    assert urlsplit(prometheus["url"]).netloc == "prometheus:9090"
    assert (postgresql["url"], postgresql["user"], postgresql["jsonData"]["database"]) == ("database:5432", "earmark_reader", "earmark")
    assert [source["isDefault"] for source in sources().values() if "isDefault" in source] == [True]
    assert not any(source["editable"] for source in sources().values())
    variable = postgresql["secureJsonData"]["password"].removeprefix("$")
    assert SERVICES["grafana"]["environment"][variable] == SERVICES["reader"]["environment"][variable]
    given = services({"GRAFANA_DATABASE_PASSWORD": "another", "DATABASE_PASSWORD": "one"})
    assert given["grafana"]["environment"][variable] == given["reader"]["environment"][variable] == "another"
    assert {given[name]["environment"]["PGPASSWORD"] for name in ("migrate", "reader", "surroundings", "daemon")} == {"one"}
    assert given["database"]["environment"]["POSTGRES_PASSWORD"] == "one"


def test_every_dashboard_is_provided_and_asks_only_sources_that_are() -> None:
    grafana = SERVICES["grafana"]
    (provider,) = provisioned("dashboards.yaml")["providers"]
    folder = mounts(grafana)[provider["options"]["path"]]
    assert folder == ROOT / "config" / "grafana"
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"] and (folder / home.name).exists()
    for dashboard in sorted(Path(folder).glob("*.json")):
        text = dashboard.read_text(encoding="utf-8")
        variables = {f"${{{variable['name']}}}": variable for variable in json.loads(text)["templating"]["list"] if variable["type"] == "datasource"}
        named = {uid for uid in re.findall(r'"datasource":\s*\{[^{}]*"uid":\s*"([^"]+)"', text) if not uid.startswith("-- ")}
        assert named - set(variables) <= set(sources()), dashboard.name
        assert {variable["query"] for variable in variables.values()} <= {source["type"] for source in sources().values()}, dashboard.name


def test_prometheus_scrapes_the_daemon_under_a_name_that_it_has() -> None:
    folder = mounts(SERVICES["prometheus"])["/etc/prometheus"]
    assert f"--config.file=/etc/prometheus/{'prometheus.yml'}" in SERVICES["prometheus"]["command"]
    assert isinstance(folder, Path)
    config = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
    assert [name for name in config["rule_files"] if not (folder / name).exists()] == []
    looked_up = [(name, found["port"]) for job in config["scrape_configs"] for found in job["dns_sd_configs"] for name in found["names"]]
    assert looked_up == [("earmark", load(environ={}).settings.metrics.port)]
    assert "earmark" in aliases("daemon", SERVICES["daemon"])
    assert provisioned("datasources.yaml")["datasources"][0]["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


# ------------------------------------------------------------------------------------------------ who may read


@pytest.fixture
def owned(postgres_server: str, _template: str):
    """A migrated database, as the service `migrate` leaves it."""
    dsn = create_database(postgres_server, "compose_reader", template=_template)
    yield dsn
    drop_database(postgres_server, "compose_reader")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("drop role if exists earmark_reader")


def read_by(dsn: str, password: str) -> None:
    """As the service `reader` does, by the command and the file in it."""
    service = SERVICES["reader"]
    script = {inside: str(outside) for inside, outside in mounts(service).items()}
    program, *arguments = [re.sub(r"=(/\S+)", lambda found: f"={script[found[1]]}", word) for word in service["command"]]
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    environment = {"PGHOST": str(given["host"]), "PGUSER": str(given["user"]), "PGDATABASE": str(given["dbname"]), "READER_PASSWORD": password}
    assert set(environment) <= set(service["environment"])
    done = subprocess.run([_installed_binaries() / program, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, ""), shlex.join(service["command"])


def test_the_readers_files_lie_to_each_other_as_they_do_here() -> None:
    assert {inside: outside for inside, outside in mounts(SERVICES["reader"]).items() if ROOT / inside.lstrip("/") != outside} == {}


def test_grafana_reads_the_views_and_nothing_else_however_often_that_is_said(owned: str) -> None:
    for password in ("first", 'it\'s "another" $one\\'):
        read_by(owned, password)
    with psycopg.connect(owned, user="earmark_reader", password=password, autocommit=True) as connection:
        views = [name for (name,) in connection.execute("select viewname from pg_views where starts_with(viewname, 'earmark_v_')")]
        assert {"earmark_v_streams", "earmark_v_plays", "earmark_v_coverage"} <= set(views)
        for view in views:
            connection.execute(f"select * from {view} limit 1".encode())
        tables = [name for (name,) in connection.execute("select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'")]
        assert len(tables) > 10
        for table in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'select * from "{table}" limit 1'.encode())
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create temporary table mine ()")
