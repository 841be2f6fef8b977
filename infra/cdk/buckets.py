"""Where hits are kept, and where recordings and files are put."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from acknowledged import acknowledge


class Buckets(Construct):
    """Results; and one bucket for what people bring: `catalogue/` (recordings) and `check/` (files to be heard once)."""

    def __init__(self, scope: Construct, name: str, *, key: kms.IKey, retention_days: int, catalogue_bucket: str) -> None:
        super().__init__(scope, name)
        self.results = _bucket(
            self,
            "Results",
            key=key,
            # Evidence goes sooner, by the daemon (retention.evidence_days).
            rules=[
                s3.LifecycleRule(expiration=cdk.Duration.days(retention_days), noncurrent_version_expiration=cdk.Duration.days(30)),
                # What the last round before the canary was switched off has left.
                s3.LifecycleRule(prefix="canary/", expiration=cdk.Duration.days(1), noncurrent_version_expiration=cdk.Duration.days(1)),
            ],
            # Hits are evidence in disputes: they outlive the stack.
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self.brought: s3.IBucket
        if catalogue_bucket:
            self.brought = s3.Bucket.from_bucket_name(self, "Brought", catalogue_bucket)
        else:
            # Kept as well while anything is in it: CloudFormation deletes empty buckets only, and never what people brought.
            self.brought = _bucket(
                self, "Brought", key=key, rules=[s3.LifecycleRule(noncurrent_version_expiration=cdk.Duration.days(30))], removal_policy=cdk.RemovalPolicy.RETAIN
            )


def _bucket(scope: Construct, name: str, *, key: kms.IKey, rules: list[s3.LifecycleRule], removal_policy: cdk.RemovalPolicy) -> s3.Bucket:
    """Private, and versioned: a hit is rewritten as its play goes on, and a recording by its owner."""
    bucket = s3.Bucket(
        scope,
        name,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=True,  # one call to KMS for many objects
        enforce_ssl=True,
        minimum_tls_version=1.2,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        versioned=True,
        lifecycle_rules=[s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1)), *rules],
        removal_policy=removal_policy,
    )
    who_read = "who read what is CloudTrail's to say, for those who switch its data events on; a bucket of access logs would be one more to keep"
    acknowledge(bucket, "AwsSolutions-S1", who_read)
    return bucket
