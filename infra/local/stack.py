"""The whole system on one machine: `stack.py up|wait|down|…`.

Deploys `template.yaml` as it stands to MiniStack, next to a Postgres and the vendor simulators. What it
started is described in `target/local/stack.json`.
"""

import argparse
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile

import sam
from postgres import Postgres, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "local"
STATE = HOME / "stack.json"
PASSWORD = "local"
# Locally a secret is the value itself. Keys of a real vendor in the environment take the place of ours,
# and with them the vendor that of its simulator.
SECRETS = {
    name: os.environ.get(name, value)
    for name, value in {
        "LESSONSPACE_API_KEY": "00000000-1111-2222-3333-444444444444",
        "LESSONSPACE_SECRET": "a-secret-of-the-local-stack",
        "LIVEKIT_API_KEYS": "APIofTheLocalStack:a-secret-of-the-local-livekit",
        "PENCIL_API_KEY": "a-key-of-the-local-pencil-spaces",
        "PENCIL_WEBHOOK_SECRET": "a-secret-of-the-local-pencil-spaces",
        "CRON_SECRET": "a-cron-secret-of-the-local-stack",
        "STRIPE_SECRET_KEY": "sk_test_of-the-local-stack",
        "STRIPE_WEBHOOK_SECRET": "whsec_of-the-local-stack",
        "FAPSHI_API_KEY": "FAK_TEST_of-the-local-stack",
        "FAPSHI_PAYOUT_KEY": "FAK_TEST_of-the-local-payouts",
        "FAPSHI_WEBHOOK_SECRET": "a-secret-agreed-with-the-local-fapshi",
    }.items()
}
# LiveKit's simulator has one key, as a server of one's own would have it in its own settings.
LIVEKIT = dict(zip(("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"), SECRETS["LIVEKIT_API_KEYS"].split(",")[0].split(":")))
FAPSHI_USERS = {name: os.environ.get(name, name.lower()) for name in ("FAPSHI_API_USER", "FAPSHI_PAYOUT_USER")}


def say(text):
    print(f"stack: {text}", flush=True)


def start(name, command, **environment):
    """A child that outlives this script; its output goes to a file."""
    log = (HOME / f"{name}.log").open("w")
    child = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        env={**os.environ, **environment}, start_new_session=True,
    )
    return child.pid


def wait_for(url, what):
    for _ in range(200):
        try:
            return urllib.request.urlopen(url, timeout=1)
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"stack: {what} did not start; see target/local/*.log")


class Aws:
    """MiniStack, spoken to as AWS."""

    def __init__(self, port):
        import boto3

        self.endpoint = f"http://127.0.0.1:{port}"
        keys = dict(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        self.client = lambda service: boto3.client(service, endpoint_url=self.endpoint, **keys)

    def start(self):
        port = self.endpoint.rsplit(":", 1)[1]
        program = pathlib.Path(sys.executable).parent / "ministack"
        pid = start(
            "ministack", [str(program)],
            GATEWAY_PORT=port, BIND_HOST="127.0.0.1", MINISTACK_HOST="127.0.0.1", AWS_ENDPOINT_URL=self.endpoint,
            AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1",
            IOT_MTLS_ENABLED="0", LOG_LEVEL="WARNING",
        )
        wait_for(self.endpoint + "/_ministack/health", "MiniStack")
        return pid


def package(aws, template, binaries):
    """Zips each function's binary and points the template at it."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="code")
    for name, function in sam.functions(template).items():
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            bundle.writestr(entry, (binaries / sam.crate_of(function)).read_bytes())
        s3.put_object(Bucket="code", Key=f"{name}.zip", Body=archive.getvalue())
        function["CodeUri"] = f"s3://code/{name}.zip"


def localise(template, environment):
    """Secrets by value instead of by parameter, and what only the local stack sets."""
    secrets = {**SECRETS, "DATABASE_URL": environment.pop("DATABASE_URL")}
    shared = sam.shared_variables(template)
    for variables in [shared, *map(sam.own_variables, sam.functions(template).values())]:
        for name in [name for name in variables if name.endswith("_PARAMETER")]:
            del variables[name]
            secret = name.removesuffix("_PARAMETER")
            if secret in secrets:
                variables[secret] = secrets[secret]
    shared.update(environment)


def cors_of(body, parameters):
    """Whom the API's own description lets in, with what the template leaves to CloudFormation worked out."""
    _, cors, _ = body["x-amazon-apigateway-cors"]["Fn::If"]
    return {
        key[0].upper() + key[1:]: parameters["AllowedOrigins"].split(",") if key == "allowOrigins" else value
        for key, value in cors.items()
    }


def deploy(aws, template, parameters):
    translated = sam.translate(template, parameters)
    apis = {}
    for name, resource in list(translated["Resources"].items()):
        if resource["Type"] == "AWS::ApiGatewayV2::Api":
            # MiniStack does not create the routes of an API's OpenAPI body: `route` does.
            apis[name] = resource["Properties"].pop("Body")
            resource["Properties"] = {"Name": name, "ProtocolType": "HTTP"}
        elif "Metrics" in resource["Properties"] and resource["Type"] == "AWS::CloudWatch::Alarm":
            # It refuses alarms that calculate; nobody is woken here.
            del translated["Resources"][name]
    # Too long for a request's body, here as on AWS.
    aws.client("s3").put_object(Bucket="code", Key="template.json", Body=json.dumps(translated))
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName="firstbell", TemplateURL=f"{aws.endpoint}/code/template.json", Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    while True:
        stack = cloudformation.describe_stacks(StackName="firstbell")["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.05)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise SystemExit(f"stack: the template did not deploy: {stack}")
    resources = cloudformation.describe_stack_resources(StackName="firstbell")["StackResources"]
    physical = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    [(name, body)] = apis.items()
    return physical, route(aws, physical, physical[name], body, parameters)


def route(aws, physical, api, body, parameters):
    """Creates the routes that the translated API describes."""
    gateway, functions = aws.client("apigatewayv2"), aws.client("lambda")
    gateway.update_api(ApiId=api, CorsConfiguration=cors_of(body, parameters))
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            uri = json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
            function = re.search(r"\$\{(\w+)\.Arn\}", uri).group(1)
            arn = functions.get_function(FunctionName=physical[function])["Configuration"]["FunctionArn"]
            integration = gateway.create_integration(
                ApiId=api, IntegrationType="AWS_PROXY", PayloadFormatVersion="2.0", IntegrationUri=arn
            )
            gateway.create_route(
                ApiId=api, RouteKey=f"{method.upper()} {path}", Target="integrations/" + integration["IntegrationId"]
            )
    return f"{aws.endpoint}/_aws/execute-api/{api}/$default/"


def migrate(binaries, postgres):
    """Brings the schema up to date as the owner; the functions connect as their own role."""
    environment = {**os.environ, "DATABASE_URL": postgres.url}
    subprocess.run([str(binaries / "migrate")], env=environment, check=True)
    command = f"ALTER ROLE firstbell_service PASSWORD '{PASSWORD}'"
    subprocess.run([str(postgres.programs / "psql"), "-q", postgres.url, "-c", command], check=True)
    return postgres.url.replace("postgres@", f"firstbell_service:{PASSWORD}@", 1)


def up(binaries):
    down()
    began = time.monotonic()
    HOME.mkdir(parents=True, exist_ok=True)
    say("starting Postgres")
    postgres = Postgres(ROOT, "stack")
    postgres.create()
    database = migrate(binaries, postgres)
    clock = HOME / "clock-offset-seconds"
    clock.write_text("0")
    simulators = f"http://127.0.0.1:{free_port()}"
    state = {"pids": [], "database_owner": postgres.url, "simulators": simulators, "clock": str(clock)}
    state["cron_secret"] = SECRETS["CRON_SECRET"]
    say("starting the vendor simulators and MiniStack")
    environment = {**SECRETS, **LIVEKIT, **FAPSHI_USERS, "CLOCK_OFFSET_FILE": str(clock)}
    program = [str(binaries / "simulators"), simulators.removeprefix("http://")]
    state["pids"].append(start("simulators", program, **environment))
    aws = Aws(free_port())
    state["pids"].append(aws.start())
    STATE.write_text(json.dumps(state))
    wait_for(simulators + "/identity/.well-known/jwks.json", "the simulators")
    say("deploying template.yaml")
    template = sam.read()
    package(aws, template, binaries)
    localise(template, {"DATABASE_URL": database, "AWS_ENDPOINT_URL": aws.endpoint, "CLOCK_OFFSET_FILE": str(clock)})
    parameters = {
        "Stage": "local",
        "JwtIssuer": f"{simulators}/identity",
        "JwksUrl": f"{simulators}/identity/.well-known/jwks.json",
        # Told to who reads it as soon as the API exists.
        "PublicBaseUrl": "https://not-known-yet/",
        "AllowedOrigins": "http://localhost:3000",
        "LessonspaceOrganisation": os.environ.get("LESSONSPACE_ORGANISATION", "20001"),
        "FapshiApiUser": FAPSHI_USERS["FAPSHI_API_USER"],
        "FapshiPayoutUser": FAPSHI_USERS["FAPSHI_PAYOUT_USER"],
        "LiveKitPageUrl": os.environ.get("LIVEKIT_PAGE_URL", "https://meet.livekit.io/custom"),
        "PaymentReturnUrl": os.environ.get("PAYMENT_RETURN_URL", "http://localhost:3000/paid"),
        **vendors(simulators),
    }
    # What the template has a default for needs no value here, but MiniStack wants every value it is to know.
    defaults = {name: str(p["Default"]) for name, p in template["Parameters"].items() if "Default" in p}
    parameters = {**defaults, **parameters}
    physical, api = deploy(aws, template, parameters)
    tell_public_address(aws, physical, os.environ.get("PUBLIC_BASE_URL", api))
    state.update(aws=aws.endpoint, api=api, physical=physical)
    STATE.write_text(json.dumps(state, indent=1))
    say(f"ready after {time.monotonic() - began:.1f} s: {api}")


def vendors(simulators):
    """Where each vendor is: its simulator, unless the environment has a key of the real one."""
    fapshi = "sandbox" if SECRETS["FAPSHI_API_KEY"].startswith("FAK_TEST_") else "live"
    addresses = {
        "LessonspaceApiUrl": ("LESSONSPACE_API_KEY", "https://api.thelessonspace.com/v2/", "lessonspace/v2/"),
        "LiveKitUrl": ("LIVEKIT_API_KEYS", os.environ.get("LIVEKIT_URL", ""), "livekit/"),
        "PencilApiUrl": ("PENCIL_API_KEY", "https://apis.pencilapp.com/public/api/", "pencilspaces/public/api/"),
        "StripeApiUrl": ("STRIPE_SECRET_KEY", "https://api.stripe.com/", "stripe/"),
        "FapshiApiUrl": ("FAPSHI_API_KEY", f"https://{fapshi}.fapshi.com/", "fapshi/"),
    }
    return {
        parameter: real if key in os.environ else f"{simulators}/{path}"
        for parameter, (key, real, path) in addresses.items()
    }


def tell_public_address(aws, physical, address):
    """Its own address is known only once the API exists; on AWS it is a domain chosen beforehand."""
    client, functions = aws.client("lambda"), sam.functions(sam.read())
    for name in [name for name, function in functions.items() if "PUBLIC_BASE_URL" in sam.own_variables(function)]:
        variables = client.get_function_configuration(FunctionName=physical[name])["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=physical[name], Environment={"Variables": {**variables, "PUBLIC_BASE_URL": address}}
        )


def is_ours(pid):
    """Whether the process is still the one that was started: after a reboot its number may be somebody else's."""
    try:
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(pathlib.PurePath(os.fsdecode(word)).name in ("simulators", "ministack") for word in command)


def down():
    if STATE.exists():
        for pid in filter(is_ours, json.loads(STATE.read_text())["pids"]):
            try:
                os.killpg(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        STATE.unlink()
    Postgres(ROOT, "stack").stop("immediate")


def wait():
    """Keeps a started stack in the foreground until Ctrl-C."""
    state = json.loads(STATE.read_text())
    say(f"up until Ctrl-C. API {state['api']}  vendors {state['simulators']}  database {state['database_owner']}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("stopping")
    finally:
        down()


def main():
    actions = {
        "down": lambda _: down(),
        "up": lambda arguments: up(arguments.binaries),
        "wait": lambda _: wait(),
        "postgres-stop": lambda _: Postgres(ROOT, "stack").stop("immediate"),
        "postgres-start": lambda _: Postgres(ROOT, "stack").start(),
        # A cluster of their own for tests that need a database and nothing else.
        "test-database-up": lambda _: (Postgres(ROOT, "tests").create(), print(Postgres(ROOT, "tests").url)),
        "test-database-down": lambda _: Postgres(ROOT, "tests").stop("immediate"),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=actions)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "debug")
    arguments = parser.parse_args()
    actions[arguments.action](arguments)


if __name__ == "__main__":
    main()
