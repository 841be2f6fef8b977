"""infra/cdk, without an account: what would be deployed, and who may do what.

Making the template takes ten seconds, so it is made once, with an address for alerts and one archive bucket.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from earmark.settings import load

if shutil.which("node") is None:
    pytest.skip("infra/cdk needs node, which is not installed on this machine", allow_module_level=True)
try:
    import aws_cdk as cdk
    from aws_cdk.assertions import Match, Template
except ModuleNotFoundError:
    pytest.skip("infra/cdk needs aws-cdk-lib: `make cdk` adds it to .venv", allow_module_level=True)

INFRA = Path(__file__).parents[2] / "infra" / "cdk"


def synthesise(folder: Path, **arguments: Any) -> Template:
    from stack import EarmarkStack

    app = cdk.App(outdir=str(folder), context=json.loads((INFRA / "cdk.json").read_text(encoding="utf-8"))["context"])
    return Template.from_stack(EarmarkStack(app, "Earmark", **arguments))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesise(tmp_path_factory.mktemp("cdk"), alert_email="rights@example.com", archive_buckets=("archive-one",), recording_buckets=("recordings-one",))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Template, Path]:
    """Without an address and without archive buckets; and the folder in which everything was staged."""
    folder = tmp_path_factory.mktemp("cdk")
    return synthesise(folder, alert_email="", archive_buckets=()), folder


@pytest.fixture(scope="module")
def resources(template: Template) -> dict[str, dict[str, Any]]:
    return template.to_json()["Resources"]


@pytest.fixture(scope="module")
def container(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (task,) = (resource for resource in resources.values() if resource["Type"] == "AWS::ECS::TaskDefinition")
    (only,) = task["Properties"]["ContainerDefinitions"]
    return only


def statements(resources: dict[str, dict[str, Any]], role: str) -> list[dict[str, Any]]:
    """Of the policies attached to the role whose logical id contains `role`."""
    policies = (resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::IAM::Policy")
    attached = (policy for policy in policies if any(role in reference["Ref"] for reference in policy["Roles"]))
    return [statement for policy in attached for statement in policy["PolicyDocument"]["Statement"]]


def actions(statement: dict[str, Any]) -> set[str]:
    found = statement["Action"]
    return {found} if isinstance(found, str) else set(found)


def test_a_stream_that_starts_reaches_the_queue_and_what_cannot_is_kept(template: Template):
    of_ivs = ["IVS Stream State Change", "IVS Recording State Change"]
    for source, detail_types in (("aws.ivs", of_ivs), ("aws.medialive", ["MediaLive Channel State Change"])):
        template.has_resource_properties(
            "AWS::Events::Rule",
            {
                "EventPattern": {"source": [source], "detail-type": detail_types},
                "Targets": [Match.object_like({"DeadLetterConfig": Match.any_value(), "RetryPolicy": Match.any_value()})],
            },
        )
    template.has_resource_properties("AWS::SQS::Queue", {"RedrivePolicy": Match.object_like({"maxReceiveCount": 5})})


def test_only_the_archive_buckets_that_were_named_are_followed(template: Template, bare: tuple[Template, Path]):
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": ["archive-one"]}}}
    template.has_resource_properties("AWS::Events::Rule", {"EventPattern": pattern})
    without, _ = bare
    without.resource_properties_count_is("AWS::Events::Rule", {"EventPattern": Match.object_like({"source": ["aws.s3"]})}, 0)
    without.resource_count_is("AWS::SNS::Subscription", 0)


def test_an_address_gets_the_alerts(template: Template):
    template.has_resource_properties("AWS::SNS::Subscription", {"Protocol": "email", "Endpoint": "rights@example.com"})


def test_hits_are_private_versioned_and_survive_the_stack(template: Template):
    every = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
    template.has_resource("AWS::S3::Bucket", {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})
    template.has_resource_properties("AWS::S3::Bucket", {"PublicAccessBlockConfiguration": every, "VersioningConfiguration": {"Status": "Enabled"}})


def test_buckets_queues_and_the_topic_want_tls(resources: dict[str, dict[str, Any]]):
    kinds = {"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}
    policies = [resource for resource in resources.values() if resource["Type"] in kinds]
    assert len(policies) == 4
    for policy in policies:
        denied = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert [s["Condition"] for s in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_the_daemon_runs_small_read_only_and_has_time_to_hand_over(template: Template, container: dict[str, Any]):
    template.has_resource_properties(
        "AWS::ECS::TaskDefinition",
        {"Cpu": "1024", "Memory": "2048", "RuntimePlatform": {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}},
    )
    assert container["ReadonlyRootFilesystem"] is True
    assert container["LinuxParameters"]["InitProcessEnabled"] is True
    assert container["StopTimeout"] == 120
    assert container["StopTimeout"] > load(environ={}).settings.leases.drain_s
    assert "/healthz" in container["HealthCheck"]["Command"][-1]
    template.has_resource_properties(
        "AWS::ECS::Service",
        {
            "DeploymentConfiguration": Match.object_like({"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}, "MinimumHealthyPercent": 100}),
            "NetworkConfiguration": {"AwsvpcConfiguration": Match.object_like({"AssignPublicIp": "DISABLED"})},
        },
    )


def test_every_setting_that_the_container_gets_exists(container: dict[str, Any]):
    given = {entry["Name"]: entry["Value"] if isinstance(entry["Value"], str) else "from-the-stack" for entry in container["Environment"]}
    assert set(given) >= {"EARMARK_DATABASE__DSN", "EARMARK_QUEUE__URL", "EARMARK_RESULTS__BUCKET", "EARMARK_ALERTS__TOPIC_ARN"}
    settings = load(environ=given).settings
    assert settings.metrics.port == 9100
    assert "sslmode=require" in settings.database.dsn.get_secret_value()


def test_no_password_stands_in_the_template(container: dict[str, Any], template: Template):
    assert {secret["Name"] for secret in container["Secrets"]} == {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD"}
    template.has_resource_properties("AWS::RDS::DBCluster", {"MasterUserPassword": {"Fn::Join": Match.any_value()}})


def test_the_database_is_encrypted_guarded_and_reached_by_the_daemon_alone(template: Template, resources: dict[str, dict[str, Any]]):
    template.has_resource("AWS::RDS::DBCluster", {"DeletionPolicy": "Snapshot"})
    template.has_resource_properties(
        "AWS::RDS::DBCluster",
        {
            "Engine": "aurora-postgresql",
            "StorageEncrypted": True,
            "DeletionProtection": True,
            "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 8},
        },
    )
    template.has_resource_properties("AWS::RDS::DBClusterParameterGroup", {"Parameters": {"rds.force_ssl": "1"}})
    ingress = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::EC2::SecurityGroupIngress"]
    assert [rule["Description"] for rule in ingress] == ["the daemon"]
    open_groups = [r for r in resources.values() if r["Type"] == "AWS::EC2::SecurityGroup" and "SecurityGroupIngress" in r["Properties"]]
    assert open_groups == []


def test_the_daemon_may_do_what_it_does_and_no_more(resources: dict[str, dict[str, Any]]):
    granted = statements(resources, "TaskRole")
    assert set().union(*map(actions, granted)) == {
        "ecs:GetTaskProtection",
        "ecs:UpdateTaskProtection",
        "ivs:BatchGetChannel",
        "ivs:GetChannel",
        "ivs:GetRecordingConfiguration",
        "ivs:GetStream",
        "ivs:ListStreams",
        "medialive:DescribeChannel",
        "medialive:ListChannels",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
        "sns:Publish",
        "sqs:DeleteMessage",
        "sqs:ReceiveMessage",
    }
    assert [statement["Effect"] for statement in granted] == ["Allow"] * len(granted)
    assert [actions(statement) for statement in granted if statement["Resource"] == "*"] == [{"medialive:ListChannels"}]


def test_it_may_delete_evidence_and_nothing_else(resources: dict[str, dict[str, Any]]):
    (statement,) = [statement for statement in statements(resources, "TaskRole") if "s3:DeleteObject" in actions(statement)]
    assert json.dumps(statement["Resource"]).endswith('"/*/evidence/*"]]}')


@pytest.mark.parametrize("bucket", ["archive-one", "recordings-one"])
def test_it_may_read_archives_and_recordings_and_not_write_them(resources: dict[str, dict[str, Any]], bucket: str):
    archive = [statement for statement in statements(resources, "TaskRole") if bucket in json.dumps(statement["Resource"])]
    assert sorted(map(sorted, map(actions, archive))) == [["s3:GetObject"], ["s3:ListBucket"]]


def test_the_image_is_made_of_what_it_needs(bare: tuple[Template, Path]):
    """The context is staged for the build; a stray file in it would also change the image's hash with every test run."""
    (asset,) = (file.parent for file in bare[1].glob("asset.*/Dockerfile"))
    assert {path.name for path in asset.iterdir()} == {".dockerignore", "Dockerfile", "LICENSE", "README.md", "daemon", "pyproject.toml", "requirements"}
    assert not list(asset.rglob("__pycache__"))
    assert not list(asset.rglob("*.pyc"))


def test_the_app_synthesises_as_the_cli_would_run_it(tmp_path: Path):
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "CDK_OUTDIR": str(tmp_path / "out")}
    done = subprocess.run([sys.executable, "app.py"], cwd=INFRA, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "Earmark.template.json").exists()
    assert "WARNING" not in done.stdout + done.stderr
