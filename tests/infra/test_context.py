"""What an operator may say, and what is said to them when it is wrong; no node is needed for it."""

import pytest

from context import BadContext, Context

CLUSTER = "arn:aws:rds:eu-west-1:123456789012:cluster:music"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:music-AbCdEf"
VPC = "vpc-0123456789abcdef0"
WEBHOOK = {"webhook": "on", "webhookUrl": "https://hooks.example.com/hits", "webhookSecretArn": SECRET}
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/music"
BESIDE = {"databaseArn": CLUSTER, "databaseSecretArn": SECRET, "databaseSecurityGroup": "sg-01234567", "vpcId": VPC}


def test_nothing_said_is_a_stack_of_its_own() -> None:
    context = Context.read({})
    assert (context.capacityMin, context.capacityMax, context.arm64, context.natless, context.notificationQueue) == (1, 10, True, False, True)
    assert Context.read({"alertEmail": "", "vpcId": None}) == context


def test_values_are_text_on_a_command_line_and_whatever_they_are_in_a_file() -> None:
    said = Context.read({"capacityMax": "20", "natless": "true", "medialiveArchiveBucket": "one-bucket, other-bucket", "databaseUnitsMin": "0.5"})
    written = Context.read({"capacityMax": 20, "natless": True, "medialiveArchiveBucket": ["one-bucket", "other-bucket"], "databaseUnitsMin": 0.5})
    assert said == written
    assert said.medialiveArchiveBucket == ("one-bucket", "other-bucket")


def test_what_cdk_keeps_in_the_context_is_its_own() -> None:
    theirs = {"@aws-cdk/core:x": True, "aws:cdk:bundling-stacks": [], "availability-zones:account=1": [], f"vpc-provider:account=1:filter.vpc-id={VPC}": {}}
    assert Context.read(theirs) == Context()


@pytest.mark.parametrize(
    "given, says",
    [
        ({"alertMail": "a@example.com"}, "alertMail is no context value of this stack: it knows alertEmail, "),
        ({"alertEmail": "rights team"}, "alertEmail (rights team) is no e-mail address: write one like rights@example.com"),
        ({"alertEmail": "a@b@example.com"}, "alertEmail (a@b@example.com) is no e-mail address"),
        ({"alertEmail": "rights@localhost"}, "is no e-mail address"),
        ({"operatorEmail": "x" * 500}, f"operatorEmail ({'x' * 77}...) is no e-mail address"),
        ({"notificationQueue": "yes"}, "notificationQueue (yes) is neither true nor false"),
        ({"medialiveArchiveBucket": "my.archive"}, "names my.archive, and MediaLive writes to no bucket with a dot"),
        ({"medialiveArchiveBucket": "s3://mine"}, "medialiveArchiveBucket (s3://mine) is not a bucket's name: 3 to 63 of"),
        ({"recordingBuckets": "one-bucket,one-bucket"}, "recordingBuckets (one-bucket,one-bucket) names one-bucket twice"),
        ({"catalogueBucket": "Uppercase"}, "catalogueBucket (Uppercase) is not a bucket's name"),
        ({"catalogueBucket": "192.168.0.1"}, "is not a bucket's name"),
        ({"vpcId": "vpc-xyz"}, "vpcId (vpc-xyz) is not a VPC's id: vpc- and 8 or 17 hexadecimal digits"),
        ({"databaseArn": "music"}, "databaseArn (music) is not the ARN of an Aurora cluster"),
        ({"databaseArn": CLUSTER}, "databaseArn needs databaseSecretArn, databaseSecurityGroup and vpcId as well"),
        ({"databaseArn": CLUSTER, "databaseSecretArn": SECRET, "vpcId": VPC}, "databaseArn needs databaseSecurityGroup as well"),
        ({"databaseSecretArn": SECRET}, "databaseSecretArn without databaseArn"),
        ({**BESIDE, "databaseSecretArn": "secret"}, "databaseSecretArn (secret) is not the ARN of a secret of Secrets Manager"),
        ({**BESIDE, "databaseSecurityGroup": "mine"}, "databaseSecurityGroup (mine) is not a security group's id"),
        ({**BESIDE, "databaseUnitsMax": "64"}, "databaseUnitsMax with databaseArn: how much a database that is there may take is set where it was made"),
        ({"databaseUnitsMin": "0.3"}, "databaseUnitsMin (0.3) is not a capacity of Aurora Serverless v2: 0.5 to 256, in steps of 0.5"),
        ({"databaseUnitsMax": "257"}, "databaseUnitsMax (257) is not a capacity"),
        ({"databaseUnitsMin": "9"}, "databaseUnitsMin (9) is above databaseUnitsMax (8)"),
        ({"capacityMin": "0"}, "capacityMin (0) is not a whole number from 1 to 1,000"),
        ({"capacityMax": "ten"}, "capacityMax (ten) is not a whole number"),
        ({"capacityMax": "1e9"}, "is not a whole number"),
        ({"capacityMin": "11"}, "capacityMin (11) is above capacityMax (10): raise the one or lower the other"),
        ({"arm64": "1"}, "arm64 (1) is neither true nor false"),
        ({"retentionDays": "7"}, "retentionDays (7) is not a whole number from 15 to 3,650"),
        ({"canaryMinutes": "1"}, "canaryMinutes (1) is neither 0 nor a whole number of minutes from 2 to 1,440, a day"),
        ({"canaryMinutes": "2.5"}, "canaryMinutes (2.5) is neither 0 nor"),
        ({"canaryMinutes": "off"}, "canaryMinutes (off) is neither 0 nor"),
        ({"playbackKeyArn": "key.pem"}, "playbackKeyArn (key.pem) is not the ARN of a secret"),
        ({"policyFile": "nowhere.toml"}, "policyFile (nowhere.toml) cannot be read: No such file or directory (from /"),
        ({"policyFile": __file__}, "is no TOML: "),
        ({"nowPlaying": "true"}, "nowPlaying (true) is none of off, dry_run and on"),
        ({"stopStream": "dry run"}, "stopStream (dry run) is none of off, dry_run and on"),
        ({"revokeStreamKeys": "true"}, "revokeStreamKeys without stopStream: say stopStream=dry_run, or on"),
        ({"webhook": "on"}, "webhook (on) needs webhookUrl and webhookSecretArn as well: where hits are posted to, and what they are signed with"),
        ({"webhook": "dry_run", "webhookUrl": "https://hooks.example.com/"}, "webhook (dry_run) needs webhookSecretArn as well"),
        ({"webhookUrl": "https://hooks.example.com/", "webhookSecretArn": SECRET}, "webhookUrl and webhookSecretArn without webhook: say webhook=dry_run"),
        ({"webhookUrl": "http://hooks.example.com/"}, "is not an address that begins with https://"),
        ({"webhookUrl": "https://me:secret@hooks.example.com/"}, "is not an address that begins with https://"),
        ({"webhookUrl": "https://hooks.example.com/a b"}, "is not an address that begins with https://"),
        ({"webhookSecretArn": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "is not the ARN of a secret"),
        ({"eventBridge": "1"}, "eventBridge (1) is none of off, dry_run and on"),
        ({"eventBus": "music"}, "eventBus without eventBridge: say eventBridge=dry_run, or on"),
        ({"eventBridge": "on", "eventBus": "my bus"}, "eventBus (my bus) is not the name or the ARN of an event bus"),
        ({"eventBridge": "on", "eventBus": "*"}, "eventBus (*) is not the name or the ARN of an event bus"),
    ],
)
def test_a_wrong_value_is_one_sentence(given: dict[str, str], says: str) -> None:
    with pytest.raises(BadContext) as caught:
        Context.read(given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given, account, region, says",
    [
        ({"vpcId": VPC}, "", "", f"vpcId ({VPC}) is looked up in your account: give the CLI credentials and a region"),
        ({"vpcId": VPC}, "123456789012", "", "is looked up in your account"),
        (BESIDE, "123456789012", "us-east-1", "databaseArn is in eu-west-1, and this deployment is in us-east-1: it has to be where the tasks are"),
        ({"playbackKeyArn": SECRET}, "", "us-east-1", "playbackKeyArn is in eu-west-1, and this deployment is in us-east-1"),
        (WEBHOOK, "", "us-east-1", "webhookSecretArn is in eu-west-1, and this deployment is in us-east-1"),
        ({"eventBridge": "on", "eventBus": BUS}, "", "us-east-1", "eventBus is in eu-west-1, and this deployment is in us-east-1"),
    ],
)
def test_what_is_elsewhere_is_one_sentence(given: dict[str, str], account: str, region: str, says: str) -> None:
    with pytest.raises(BadContext) as caught:
        Context.read(given).check_place(account=account, region=region)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_here_is_fine_and_without_credentials_nothing_is_known_to_be_elsewhere() -> None:
    Context.read(BESIDE).check_place(account="123456789012", region="eu-west-1")
    Context.read({"playbackKeyArn": SECRET}).check_place(account="", region="")


def test_a_database_that_is_there_is_named_with_what_reaches_it() -> None:
    context = Context.read(BESIDE)
    assert (context.databaseArn, context.vpcId) == (CLUSTER, VPC)
