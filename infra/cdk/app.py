"""`cdk deploy` in this folder: one stack, in the account and region that the CLI's credentials name.

cdk deploy -c alertEmail=rights@example.com -c medialiveArchiveBucket=my-archive -c recordingBuckets=my-recordings
"""

import os
import sys
from collections.abc import Mapping

import aws_cdk as cdk
import cdk_nag

from acknowledged import acknowledge_what_cdk_makes
from context import BadContext, Context
from stack import EarmarkStack


def make(app: cdk.App, environ: Mapping[str, str] = os.environ) -> EarmarkStack:
    """Raises BadContext."""
    context = Context.read(app.node.get_all_context())
    account, region = environ.get("CDK_DEFAULT_ACCOUNT", ""), environ.get("CDK_DEFAULT_REGION", "")
    context.check_place(account=account, region=region)
    # A VPC that is there is looked up, which takes an account and a region; without one the stack fits any.
    env = cdk.Environment(account=account, region=region) if context.vpcId else None
    stack = EarmarkStack(app, "Earmark", context=context, env=env)
    acknowledge_what_cdk_makes(stack)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    return stack


if __name__ == "__main__":
    app = cdk.App()
    try:
        make(app)
    except BadContext as error:
        sys.exit(f"earmark: {error}")
    app.synth()
