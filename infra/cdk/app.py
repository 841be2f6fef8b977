"""`cdk deploy` in this folder: one stack, in the account and region that the CLI's credentials name.

cdk deploy -c alertEmail=rights@example.com -c archiveBuckets=my-archive,other-archive -c recordingBuckets=my-recordings
"""

import aws_cdk as cdk

from stack import EarmarkStack

app = cdk.App()
EarmarkStack(
    app,
    "Earmark",
    alert_email=app.node.try_get_context("alertEmail") or "",
    archive_buckets=tuple(filter(None, (app.node.try_get_context("archiveBuckets") or "").split(","))),
    recording_buckets=tuple(filter(None, (app.node.try_get_context("recordingBuckets") or "").split(","))),
)
app.synth()
