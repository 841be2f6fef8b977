"""infra/cdk, without an account: what would be deployed, and who may do what. Templates are made once, each of another context."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from earmark.settings import load
from stack_synthesis import ACCOUNT, INFRA, REGION, VPC, actions, container, looked_up, of_type, statements, subnet_id, synthesised

from aws_cdk.assertions import Match, Template  # isort: skip - `synthesis` skips this module where it is not installed

SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:key-AbCdEf"
WEBHOOK_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:webhook-AbCdEf"
CLUSTER = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:music"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cdk")


@pytest.fixture(scope="module")
def template(folder: Path) -> Template:
    return synthesised(
        folder,
        alertEmail="rights@example.com",
        medialiveArchiveBucket="archive-one",
        recordingBuckets="recordings-one",
        playlistBuckets="playlists-one",
        playbackKeyArn=SECRET,
        policyFile=str(INFRA.parents[1] / "config" / "policy.toml"),
        capacityMin="2",
        protectTasks="true",
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Everything the other way."""
    beside = {"databaseArn": CLUSTER, "databaseSecretArn": SECRET, "databaseSecurityGroup": "sg-01234567"}
    return synthesised(
        tmp_path_factory.mktemp("cdk"),
        **looked_up(),
        **beside,
        natless="true",
        arm64="false",
        notificationQueue="false",
        catalogueBucket="catalogue-one",
        canaryMinutes="0",
        nowPlaying="dry_run",
        stopStream="on",
        revokeStreamKeys="true",
        webhook="on",
        webhookUrl="https://hooks.example.com/hits",
        webhookSecretArn=WEBHOOK_SECRET,
        eventBridge="on",
        eventBus="music",
    )


@pytest.fixture(scope="module")
def resources(template: Template) -> dict[str, dict[str, Any]]:
    return template.to_json()["Resources"]


@pytest.fixture(scope="module")
def daemon(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return container(resources, "Daemon")


# ------------------------------------------------------------------------------------------------ events, queues, topics


def test_what_cannot_reach_the_queue_is_kept(template: Template, resources: dict[str, dict[str, Any]]) -> None:
    rules = of_type(resources, "AWS::Events::Rule")
    assert len(rules) == 6
    for rule in rules:
        (target,) = rule["Properties"]["Targets"]
        assert target["DeadLetterConfig"]
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    template.has_resource_properties("AWS::SQS::Queue", {"RedrivePolicy": Match.object_like({"maxReceiveCount": 5})})


def test_buckets_that_were_not_named_are_not_followed(other: Template) -> None:
    rules = of_type(other.to_json()["Resources"], "AWS::Events::Rule")
    of_s3 = [rule["Properties"]["EventPattern"] for rule in rules if rule["Properties"]["EventPattern"]["source"] == ["aws.s3"]]
    assert [pattern["detail"]["bucket"]["name"] for pattern in of_s3] == [["catalogue-one"]]
    assert not [rule for rule in rules if "IVS Recording State Change" in json.dumps(rule)]


def test_an_address_gets_the_alerts_and_a_queue_those_of_hits_as_they_are(template: Template, other: Template) -> None:
    template.has_resource_properties("AWS::SNS::Subscription", {"Protocol": "email", "Endpoint": "rights@example.com", "FilterPolicy": Match.any_value()})
    of_hits = {"state": ["provisional", "open", "closed"]}
    template.has_resource_properties("AWS::SNS::Subscription", {"Protocol": "sqs", "RawMessageDelivery": True, "FilterPolicy": of_hits})
    other.resource_count_is("AWS::SNS::Subscription", 0)


def test_buckets_queues_and_topics_want_tls_and_are_encrypted_by_the_stacks_key(resources: dict[str, dict[str, Any]]) -> None:
    for kind, count in (("AWS::S3::BucketPolicy", 2), ("AWS::SQS::QueuePolicy", 3), ("AWS::SNS::TopicPolicy", 2)):
        policies = of_type(resources, kind)
        assert len(policies) == count
        for policy in policies:
            denied = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
            assert {"Bool": {"aws:SecureTransport": "false"}} in [statement["Condition"] for statement in denied]
    (key,) = (name for name, resource in resources.items() if resource["Type"] == "AWS::KMS::Key")
    for kind in ("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::RDS::DBCluster", "AWS::Logs::LogGroup"):
        unlocked = [resource for resource in of_type(resources, kind) if key not in json.dumps(resource["Properties"])]
        assert [resource["Properties"].get("LogGroupName", "") for resource in unlocked] == [], kind
    assert resources[key]["Properties"]["EnableKeyRotation"] is True


def test_hits_are_private_versioned_and_survive_the_stack(template: Template) -> None:
    every = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
    template.all_resources("AWS::S3::Bucket", {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})
    template.all_resources_properties("AWS::S3::Bucket", {"PublicAccessBlockConfiguration": every, "VersioningConfiguration": {"Status": "Enabled"}})
    rule = Match.object_like({"ExpirationInDays": 400})
    template.has_resource_properties("AWS::S3::Bucket", {"LifecycleConfiguration": {"Rules": Match.array_with([rule])}})


# ------------------------------------------------------------------------------------------------ tasks


def test_tasks_run_small_read_only_and_have_time_to_hand_over(template: Template, resources: dict[str, dict[str, Any]], daemon: dict[str, Any]) -> None:
    template.all_resources_properties("AWS::ECS::TaskDefinition", {"Cpu": "1024", "Memory": "2048", "RuntimePlatform": {"CpuArchitecture": "ARM64"}})
    for one in (daemon, container(resources, "Migration")):
        assert one["ReadonlyRootFilesystem"] is True
        assert one["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}, "InitProcessEnabled": True}
        assert [point["ContainerPath"] for point in one["MountPoints"]] == _volumes_of_the_image() == ["/tmp"]
        assert not one.get("Privileged")
    assert daemon["StopTimeout"] == 120
    assert daemon["StopTimeout"] > load(environ={}).settings.leases.drain_s
    assert "/healthz" in daemon["HealthCheck"]["Command"][-1]
    template.has_resource_properties(
        "AWS::ECS::Service",
        {
            "AvailabilityZoneRebalancing": "DISABLED",
            "DeploymentConfiguration": Match.object_like({"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}, "MinimumHealthyPercent": 100}),
            "NetworkConfiguration": {"AwsvpcConfiguration": Match.object_like({"AssignPublicIp": "DISABLED"})},
        },
    )


def _volumes_of_the_image() -> list[str]:
    """Elsewhere a volume of Fargate is root's alone, and the container's user is not root."""
    (volumes,) = re.findall(r"^VOLUME (.*)$", (INFRA.parents[1] / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return json.loads(volumes)


def test_a_deployment_replaces_tasks_that_listen_and_leaves_their_number_to_scaling(template: Template, other: Template, daemon: dict[str, Any]) -> None:
    """A protected task would hold it up for as long as streams go on, and a number in the template undo what scaling has done."""
    template.has_resource_properties("AWS::ECS::Service", {"DesiredCount": Match.absent()})
    protected = {"Name": "EARMARK_ECS__PROTECT", "Value": "true"}
    assert protected in daemon["Environment"]
    resources = other.to_json()["Resources"]
    assert {**protected, "Value": "false"} in container(resources, "Daemon")["Environment"]
    assert not [one for one in statements(resources, "DaemonTaskTaskRole") if any(action.startswith("ecs:") for action in actions(one))]


def test_a_collector_that_ends_takes_no_daemon_with_it(resources: dict[str, dict[str, Any]]) -> None:
    collector = container(resources, "Collector")
    assert collector["Essential"] is False
    assert collector["ReadonlyRootFilesystem"] is True


def test_the_managed_prometheus_has_the_rules_of_the_dashboards_and_the_runbook(resources: dict[str, dict[str, Any]]) -> None:
    sent = {one["Properties"]["Name"]: one["Properties"]["Data"] for one in of_type(resources, "AWS::APS::RuleGroupsNamespace")}
    ours = INFRA.parents[1] / "config" / "prometheus"
    assert sent == {f"earmark-{name}": (ours / f"{name}.yml").read_text(encoding="utf-8") for name in ("recording", "alerts")}


def test_the_file_of_rules_and_licences_goes_along(folder: Path, template: Template, daemon: dict[str, Any], resources: dict[str, dict[str, Any]]) -> None:
    assert [one.read_text() for one in folder.glob("asset.*.toml")] == [(INFRA.parents[1] / "config" / "policy.toml").read_text()]
    (value,) = (entry["Value"] for entry in daemon["Environment"] if entry["Name"] == "EARMARK_POLICY__FILE")
    place = _filled(value)
    assert re.fullmatch(r"s3://[^/]+/[0-9a-f]{64}\.toml", place)
    (granted,) = (one for one in statements(resources, "DaemonTaskTaskRole") if place.rpartition("/")[2] in json.dumps(one))
    assert actions(granted) == {"s3:GetObject"}


def test_every_setting_that_the_container_gets_exists(daemon: dict[str, Any]) -> None:
    given = {entry["Name"]: entry["Value"] if isinstance(entry["Value"], str) else _filled(entry["Value"]) for entry in daemon["Environment"]}
    ours = {name: value for name, value in given.items() if name.startswith("EARMARK_")}
    settings = load(environ=ours).settings
    assert settings.metrics.port == 9100
    assert settings.database.iam is True
    assert "sslmode=verify-full" in settings.database.dsn.get_secret_value()
    assert (settings.catalogue.place, settings.check.place) == ("s3://bucket/catalogue/", "s3://bucket/check/")
    assert settings.ivs.playback_key.get_secret_value() == SECRET
    assert set(given) - set(ours) == {"PGHOST", "PGPORT", "PGUSER"}


def _filled(value: dict[str, Any]) -> str:
    """What CloudFormation would put there, near enough."""
    if "Fn::Sub" in value:
        return re.sub(r"\$\{[^}]+\}", "bucket", value["Fn::Sub"])
    parts = value["Fn::Join"][1] if "Fn::Join" in value else [value]
    return "".join(part if isinstance(part, str) else "bucket" for part in parts)


def test_migrations_go_before_the_service_and_what_fails_them_fails_the_deployment(resources: dict[str, dict[str, Any]]) -> None:
    (service,) = of_type(resources, "AWS::ECS::Service")
    (run,) = (name for name, resource in resources.items() if resource["Type"] == "Custom::EarmarkMigration")
    assert run in service["DependsOn"]
    assert [name for name in resources[run]["DependsOn"] if resources[name]["Type"] == "AWS::RDS::DBInstance"]
    assert container(resources, "Migration")["Command"] == ["db", "migrate", "--owner", "earmark"]


def test_migrations_start_when_what_they_need_is_there(resources: dict[str, dict[str, Any]]) -> None:
    """Their task's own roles, the way into the database, and the way out, by which its image comes."""
    (run,) = (resource for resource in resources.values() if resource["Type"] == "Custom::EarmarkMigration")
    before = {name: resources[name]["Type"] for name in run["DependsOn"]}
    assert {"AWS::EC2::SecurityGroupIngress", "AWS::EC2::Route", "AWS::IAM::Policy", "AWS::RDS::DBInstance"} <= set(before.values())
    assert [name for name in before if name.startswith("DaemonMigrationExecutionRoleDefaultPolicy")]


def test_who_starts_migrations_may_start_nothing_else(resources: dict[str, dict[str, Any]]) -> None:
    granted = {action: statement for statement in statements(resources, "MigrationRole") for action in actions(statement)}
    assert {action for action in granted if not action.startswith("logs:")} == {"ecs:RunTask", "ecs:DescribeTasks", "iam:PassRole"}
    assert granted["iam:PassRole"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    for action in ("ecs:RunTask", "ecs:DescribeTasks"):
        assert list(granted[action]["Condition"]["ArnEquals"]) == ["ecs:cluster"]


def test_no_password_stands_in_the_template_and_the_daemon_has_none(template: Template, resources: dict[str, dict[str, Any]], daemon: dict[str, Any]) -> None:
    assert not daemon.get("Secrets")
    assert {secret["Name"] for secret in container(resources, "Migration")["Secrets"]} == {"PGUSER", "PGPASSWORD"}
    template.has_resource_properties("AWS::RDS::DBCluster", {"ManageMasterUserPassword": True, "MasterUserPassword": Match.absent()})


# ------------------------------------------------------------------------------------------------ database and network


def test_the_database_is_encrypted_kept_as_a_snapshot_and_reached_by_the_tasks_alone(template: Template, resources: dict[str, dict[str, Any]]) -> None:
    template.has_resource("AWS::RDS::DBCluster", {"DeletionPolicy": "Snapshot"})
    template.has_resource_properties(
        "AWS::RDS::DBCluster",
        {
            "Engine": "aurora-postgresql",
            "StorageEncrypted": True,
            "EnableIAMDatabaseAuthentication": True,
            "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 8},
        },
    )
    template.has_resource_properties("AWS::RDS::DBClusterParameterGroup", {"Parameters": Match.object_like({"rds.force_ssl": "1"})})
    ingress = [resource["Properties"] for resource in of_type(resources, "AWS::EC2::SecurityGroupIngress")]
    assert [rule["Description"] for rule in ingress] == ["the daemon"]
    template.has_resource_properties("AWS::EC2::SecurityGroup", {"SecurityGroupEgress": [Match.object_like({"CidrIp": "255.255.255.255/32"})]})
    assert [group for group in of_type(resources, "AWS::EC2::SecurityGroup") if "SecurityGroupIngress" in group["Properties"]] == []


def test_a_database_that_is_there_is_used_and_none_is_made(other: Template) -> None:
    other.resource_count_is("AWS::RDS::DBCluster", 0)
    resources = other.to_json()["Resources"]
    for name in ("Daemon", "Migration"):
        assert {secret["Name"] for secret in container(resources, name)["Secrets"]} == {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD"}
    (ingress,) = of_type(resources, "AWS::EC2::SecurityGroupIngress")
    assert (ingress["Properties"]["GroupId"], ingress["Properties"]["ToPort"]) == ("sg-01234567", 5432)
    assert container(resources, "Migration")["Command"] == ["db", "migrate"]


def test_natless_tasks_have_public_addresses_and_still_nothing_comes_in(other: Template) -> None:
    other.resource_count_is("AWS::EC2::VPC", 0)
    other.resource_count_is("AWS::EC2::NatGateway", 0)
    network = {"AwsvpcConfiguration": Match.object_like({"AssignPublicIp": "ENABLED", "Subnets": [subnet_id("Public", 0), subnet_id("Public", 1)]})}
    other.has_resource_properties("AWS::ECS::Service", {"NetworkConfiguration": network})
    other.has_resource_properties("AWS::ECS::TaskDefinition", {"RuntimePlatform": {"CpuArchitecture": "X86_64"}})
    assert [group for group in of_type(other.to_json()["Resources"], "AWS::EC2::SecurityGroup") if "SecurityGroupIngress" in group["Properties"]] == []


@pytest.mark.parametrize(
    "natless, found, says",
    [
        ("false", {"private": 1}, "has private subnets with a way out in one zone"),
        ("false", {"private": 2, "zones": "aa"}, "has private subnets with a way out in one zone"),
        ("true", {"public": 0}, "has public subnets, as natless wants them, in no zone"),
        ("true", {"private": 0, "isolated": 1}, "has no isolated or private subnets in two zones, where Aurora would be"),
    ],
)
def test_a_vpc_without_the_subnets_is_one_sentence(tmp_path: Path, natless: str, found: dict[str, Any], says: str) -> None:
    from context import BadContext

    with pytest.raises(BadContext, match=says) as caught:
        synthesised(tmp_path, **looked_up(**found), natless=natless)
    assert VPC in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ scaling and alarms


def test_it_scales_by_how_busy_tasks_are_and_at_once_on_streams_without_one(template: Template) -> None:
    template.has_resource_properties("AWS::ApplicationAutoScaling::ScalableTarget", {"MinCapacity": 2, "MaxCapacity": 10})
    busy = {"MetricName": "earmark_compute_busy_ratio", "Namespace": "Earmark", "Statistic": "Average"}
    template.has_resource_properties(
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        {"TargetTrackingScalingPolicyConfiguration": Match.object_like({"CustomizedMetricSpecification": Match.object_like(busy), "TargetValue": 0.55})},
    )
    template.has_resource_properties("AWS::CloudWatch::Alarm", {"MetricName": "earmark_streams", "Threshold": 1, "EvaluationPeriods": 1})


def test_scaling_starts_before_workers_stop_claiming() -> None:
    from service import BUSY_TARGET

    assert load(environ={}).settings.leases.busy_share_max > BUSY_TARGET


def test_every_metric_that_the_stack_looks_at_is_one_of_the_daemons() -> None:
    from earmark.telemetry.metrics import Metrics
    from metrics import IN_CLOUDWATCH

    assert {name.removeprefix("earmark_") for name in IN_CLOUDWATCH} <= set(Metrics.__dataclass_fields__)


def test_every_alarm_reaches_the_operator_and_has_a_place_in_the_runbook(resources: dict[str, dict[str, Any]]) -> None:
    readme = (INFRA.parents[1] / "README.md").read_text(encoding="utf-8")
    ours = [alarm["Properties"] for alarm in of_type(resources, "AWS::CloudWatch::Alarm") if "AlarmDescription" in alarm["Properties"]]
    named = [re.search(r"README, Runbook: (\w+)\.$", alarm["AlarmDescription"]) for alarm in ours]
    assert len([name for name in named if name]) == 8
    for alarm, name in zip(ours, named, strict=True):
        if name:
            assert f"**{name[1]}**" in readme
            assert alarm["AlarmActions"] == alarm["OKActions"]


def test_alarms_may_be_published_and_what_is_encrypted_be_read_by_who_passes_it_on(template: Template, resources: dict[str, dict[str, Any]]) -> None:
    """A policy of the topic's own takes the place of the one that lets its account's alarms in."""
    publish = Match.object_like({"Action": "sns:Publish", "Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}})
    template.has_resource_properties("AWS::SNS::TopicPolicy", {"PolicyDocument": {"Statement": Match.array_with([publish]), "Version": "2012-10-17"}})
    (key,) = of_type(resources, "AWS::KMS::Key")
    users = [statement["Principal"].get("Service") for statement in key["Properties"]["KeyPolicy"]["Statement"]]
    assert "events.amazonaws.com" in users
    assert ["cloudwatch.amazonaws.com", "sns.amazonaws.com"] in users


def test_what_is_not_reported_alarms_only_where_nothing_is(resources: dict[str, dict[str, Any]]) -> None:
    """Without a task no metric comes: that is one alarm, and not seven."""
    alarms = [alarm["Properties"] for alarm in of_type(resources, "AWS::CloudWatch::Alarm") if "README, Runbook" in alarm["Properties"]["AlarmDescription"]]
    assert [alarm["MetricName"] for alarm in alarms if alarm["TreatMissingData"] == "breaching"] == ["earmark_compute_busy_ratio"]
    assert {alarm["TreatMissingData"] for alarm in alarms} == {"breaching", "notBreaching"}


def test_what_outlives_the_stack_is_what_it_says(template: Template, resources: dict[str, dict[str, Any]], other: Template) -> None:
    kept = sorted(resource["Type"] for resource in resources.values() if resource.get("DeletionPolicy", "Delete") != "Delete")
    assert kept == ["AWS::KMS::Key", "AWS::RDS::DBCluster", "AWS::S3::Bucket", "AWS::S3::Bucket"]
    for name, resource in resources.items():
        assert resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy"), name
    # No log of a week or a month goes on for ever either.
    assert all(group["Properties"]["RetentionInDays"] for group in of_type(resources, "AWS::Logs::LogGroup"))
    template.has_resource_properties("AWS::RDS::DBCluster", {"EnableCloudwatchLogsExports": Match.absent()})
    said = "the buckets of results and of what you brought; the key, and a last snapshot of the database"
    template.has_output("AfterDestroy", {"Value": said})
    other.has_output("AfterDestroy", {"Value": "the bucket of results; the key"})


def test_the_canary_is_a_role_of_the_tasks_with_an_alarm_and_may_be_none(
    template: Template, resources: dict[str, dict[str, Any]], daemon: dict[str, Any]
) -> None:
    assert daemon["Command"] == ["run", "--role", "streams,catalogue,canary"]
    assert {"Name": "EARMARK_CANARY__INTERVAL_S", "Value": "600"} in daemon["Environment"]
    unheard = {"MetricName": "earmark_canary_last_success_age_seconds", "Threshold": 1_800, "ComparisonOperator": "GreaterThanThreshold"}
    template.has_resource_properties("AWS::CloudWatch::Alarm", unheard)
    # What a round that was killed has left goes with the next; and by itself if there is none.
    rule = Match.object_like({"Prefix": "canary/", "ExpirationInDays": 1, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    template.has_resource_properties("AWS::S3::Bucket", {"LifecycleConfiguration": {"Rules": Match.array_with([rule])}})


def test_without_a_canary_there_is_no_alarm_of_it(other: Template) -> None:
    resources = other.to_json()["Resources"]
    assert container(resources, "Daemon")["Command"] == ["run", "--role", "streams,catalogue"]
    assert "earmark_canary" not in json.dumps(of_type(resources, "AWS::CloudWatch::Alarm"))
    assert "CANARY" not in json.dumps(container(resources, "Daemon")["Environment"])


# ------------------------------------------------------------------------------------------------ who may do what


def test_the_daemon_may_do_what_readme_says_and_no_more(resources: dict[str, dict[str, Any]]) -> None:
    readme = (INFRA.parents[1] / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("<!-- grants") : readme.index("<!-- end of grants -->")]
    written = {action for row in table.splitlines() if row.startswith("| `") for action in re.findall(r"`([a-z0-9-]+:[A-Za-z]+)`", row.split("|")[1])}
    granted = statements(resources, "DaemonTaskTaskRole")
    assert written == set().union(*map(actions, granted)) | ACTING
    assert [statement["Effect"] for statement in granted] == ["Allow"] * len(granted)
    assert [actions(statement) for statement in granted if statement["Resource"] == "*"] == [{"medialive:ListChannels"}]
    assert not [action for statement in granted for action in actions(statement) if "*" in action]


def test_it_may_delete_evidence_the_canarys_streams_and_what_it_wrote_into_the_catalogue_and_nothing_else(resources: dict[str, dict[str, Any]]) -> None:
    deleting = [statement for statement in statements(resources, "DaemonTaskTaskRole") if any(action.startswith("s3:Delete") for action in actions(statement))]
    named = re.findall(r'"(/[^"]*)"\]\]', json.dumps([statement["Resource"] for statement in deleting]))
    assert sorted(named) == ["/*/evidence/*", "/canary/*", "/catalogue/*"]


#: What no action needs that hearing does not.
ACTING = {"ivs:PutMetadata", "ivs:StopStream", "ivs:ListStreamKeys", "ivs:DeleteStreamKey", "events:PutEvents"}


def test_without_an_action_nothing_is_allowed_and_nothing_set(resources: dict[str, dict[str, Any]], daemon: dict[str, Any]) -> None:
    granted = set().union(*map(actions, statements(resources, "DaemonTaskTaskRole")))
    assert not granted & ACTING
    sections = ("NOW_PLAYING", "STOP_STREAM", "WEBHOOK", "EVENTBRIDGE")
    assert not [entry["Name"] for entry in daemon["Environment"] if entry["Name"].removeprefix("EARMARK_").startswith(sections)]


def test_each_action_that_is_on_may_do_its_own_and_a_dry_run_nothing(other: Template) -> None:
    granted = {action: statement["Resource"] for statement in statements(other.to_json()["Resources"], "DaemonTaskTaskRole") for action in actions(statement)}
    assert granted.keys() & ACTING == ACTING - {"ivs:PutMetadata"}
    own = {action: granted[action] for action in sorted({*ACTING & granted.keys(), "secretsmanager:GetSecretValue"})}
    assert own == {
        "events:PutEvents": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/music",
        "ivs:DeleteStreamKey": f"arn:aws:ivs:{REGION}:{ACCOUNT}:stream-key/*",
        "ivs:ListStreamKeys": f"arn:aws:ivs:{REGION}:{ACCOUNT}:channel/*",
        "ivs:StopStream": f"arn:aws:ivs:{REGION}:{ACCOUNT}:channel/*",
        "secretsmanager:GetSecretValue": WEBHOOK_SECRET,
    }


def test_settings_of_actions_are_those_of_the_context(other: Template) -> None:
    environment = {entry["Name"]: entry["Value"] for entry in container(other.to_json()["Resources"], "Daemon")["Environment"]}
    sections = ("EARMARK_NOW_PLAYING", "EARMARK_STOP_STREAM", "EARMARK_WEBHOOK", "EARMARK_EVENTBRIDGE")
    settings = load(environ={name: value for name, value in environment.items() if name.startswith(sections)}).settings
    modes = (settings.now_playing.mode, settings.stop_stream.mode, settings.webhook.mode, settings.eventbridge.mode)
    assert modes == ("dry_run", "on", "on", "on")
    assert settings.stop_stream.revoke_key is True
    assert (settings.webhook.url, settings.webhook.secret.get_secret_value()) == ("https://hooks.example.com/hits", WEBHOOK_SECRET)
    assert settings.eventbridge.bus == "music"


@pytest.mark.parametrize("bucket", ["archive-one", "recordings-one", "playlists-one"])
def test_what_others_write_it_may_read_and_not_change(resources: dict[str, dict[str, Any]], bucket: str) -> None:
    theirs = [statement for statement in statements(resources, "DaemonTaskTaskRole") if bucket in json.dumps(statement["Resource"])]
    assert sorted(map(sorted, map(actions, theirs))) == [["s3:GetObject", "s3:GetObjectVersion"], ["s3:ListBucket"]]


def test_the_order_of_what_it_may_is_always_the_same(resources: dict[str, dict[str, Any]]) -> None:
    """Another one with each synthesis would be a change to deploy."""
    named = [re.search(r"[a-z]+-one", json.dumps(statement["Resource"])) for statement in statements(resources, "DaemonTaskTaskRole")]
    found = [name[0] for name in named if name]
    assert found == sorted(found)


# ------------------------------------------------------------------------------------------------ the app


def test_the_cli_finds_the_app_where_readme_says() -> None:
    assert json.loads((INFRA / "cdk.json").read_text(encoding="utf-8"))["app"] == "python3 app.py"
    readme = (INFRA.parents[1] / "README.md").read_text(encoding="utf-8")
    assert "cd infra/cdk && cdk deploy" in readme


def test_the_image_is_made_of_what_it_needs(template: Template, folder: Path) -> None:
    """The context is staged for the build; a stray file in it would also change the image's hash with every test run."""
    assert template
    (asset,) = (file.parent for file in folder.glob("asset.*/Dockerfile"))
    assert {path.name for path in asset.iterdir()} == {
        ".dockerignore",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "config",
        "daemon",
        "pyproject.toml",
        "requirements",
    }
    assert [path.name for path in (asset / "config").iterdir()] == ["rds-ca.pem"]
    assert not list(asset.rglob("__pycache__"))
    assert not list(asset.rglob("*.pyc"))


def test_the_app_synthesises_as_the_cli_would_run_it_and_says_what_is_wrong(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "CDK_OUTDIR": str(tmp_path / "out"),
        "CDK_CONTEXT_JSON": '{"capacityMin": "0"}',
    }
    done = subprocess.run([sys.executable, "app.py"], cwd=INFRA, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    # Node that is soon too old says so, too.
    assert done.stderr.strip().splitlines()[-1] == "earmark: capacityMin (0) is not a whole number from 1 to 1,000"
    assert "Traceback" not in done.stderr
    del environment["CDK_CONTEXT_JSON"]
    done = subprocess.run([sys.executable, "app.py"], cwd=INFRA, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "Earmark.template.json").exists()
    assert "WARNING" not in done.stdout + done.stderr
