"""What a deployment rests on: the template translates, cfn-lint finds nothing in the result, and our own
rules hold, which linters do not know."""

import json
import pathlib
import re
import subprocess
import sys

import boto3
import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Read by the code, set by nobody's template: the local stack's clock, and what Lambda itself sets.
LOCAL_ONLY = {"CLOCK_OFFSET_FILE", "AWS_ENDPOINT_URL"}
# Pooler clients that a Supabase project of the smallest size serves, and what we leave to the platform.
POOLER_CLIENTS = 200
API_CONCURRENCY = 150


@pytest.fixture(scope="session")
def template():
    return yaml_parse((ROOT / "template.yaml").read_text())


@pytest.fixture(scope="session")
def translated():
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://code/function.zip"
    session = boto3.Session(region_name="us-east-1")
    return Translator({}, Parser(), boto_session=session).translate(template, parameter_values={"Stage": "dev"})


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def functions(template):
    return of_type(template, "AWS::Serverless::Function")


def crate_of(function):
    return pathlib.PurePath(function["CodeUri"]).name


def logical_id(reference):
    """The resource that `!Ref`, `!GetAtt` or `!Sub` names."""
    [(_, value)] = reference.items()
    return value[0] if isinstance(value, list) else value.split(".")[0]


def test_cfn_lint_finds_nothing_in_the_translated_template(translated, tmp_path):
    file = tmp_path / "translated.json"
    file.write_text(json.dumps(translated))
    linter = pathlib.Path(sys.executable).parent / "cfn-lint"
    result = subprocess.run([linter, "--region", "us-east-1", "--", file], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_function_of_the_template_has_a_crate_and_the_reverse(template):
    deployed = {crate_of(function) for function in functions(template).values()}
    crates = {folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir()}
    assert deployed == crates


def test_every_crate_is_named_after_what_it_does_in_both_places(template):
    for name, function in functions(template).items():
        assert name == "".join(word.capitalize() for word in crate_of(function).split("-"))


def test_every_queue_that_is_consumed_redrives_and_hides_messages_long_enough(template):
    queues, deployed = of_type(template, "AWS::SQS::Queue"), functions(template)
    default_timeout = template["Globals"]["Function"]["Timeout"]
    for name, source in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        queue = queues[logical_id(source["EventSourceArn"])]
        timeout = deployed[logical_id(source["FunctionName"])].get("Timeout", default_timeout)
        window = source.get("MaximumBatchingWindowInSeconds", 0)
        assert queue["VisibilityTimeout"] >= 6 * timeout + window, f"{name}: visibility"
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5, f"{name}: receives"
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], f"{name}: partial batches"
        assert 2 <= source["ScalingConfig"]["MaximumConcurrency"] <= 1000, f"{name}: concurrency"


def test_every_queue_is_encrypted_and_dead_letters_are_kept_for_two_weeks(template):
    queues = of_type(template, "AWS::SQS::Queue")
    targets = {logical_id(q["RedrivePolicy"]["deadLetterTargetArn"]) for q in queues.values() if "RedrivePolicy" in q}
    for name, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True, name
        assert "RedrivePolicy" in queue or name.endswith("DeadLetters"), f"{name} has nowhere to redrive to"
        if name in targets or name.endswith("DeadLetters"):
            assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600, name


def test_every_schedule_says_what_happens_when_it_fails(template):
    for name, function in functions(template).items():
        for event in function.get("Events", {}).values():
            assert event["Type"] in ("HttpApi", "ScheduleV2"), f"{name}: {event['Type']}"
            if event["Type"] == "ScheduleV2":
                schedule = event["Properties"]
                assert re.fullmatch(r"rate\(\d+ \w+\)|cron\(.+\)", schedule["ScheduleExpression"])
                assert "RetryPolicy" in schedule and "DeadLetterConfig" in schedule, name


def test_every_bucket_is_closed_and_encrypted(template):
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert "BucketEncryption" in bucket, name


def statements(template):
    for name, function in functions(template).items():
        for policy in function.get("Policies", []):
            for statement in policy["Statement"]:
                yield name, statement


def test_no_permission_has_a_star(template):
    for name, statement in statements(template):
        actions, resources = statement["Action"], statement["Resource"]
        for action in actions if isinstance(actions, list) else [actions]:
            assert "*" not in action, f"{name}: {action}"
        for resource in resources if isinstance(resources, list) else [resources]:
            text = json.dumps(resource)
            # Keys below a bucket are many; the bucket itself is named.
            assert "*" not in text or "Bucket.Arn}/" in text, f"{name}: {text}"


def test_a_consumer_may_touch_its_own_queue_and_no_managed_policy_widens_that(template, translated):
    managed = json.dumps(of_type(translated, "AWS::IAM::Role"))
    assert "AWSLambdaSQSQueueExecutionRole" not in managed
    for name, source in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        function, queue = logical_id(source["FunctionName"]), logical_id(source["EventSourceArn"])
        reads = [s for n, s in statements(template) if n == function and "sqs:ReceiveMessage" in s["Action"]]
        assert [logical_id(s["Resource"]) for s in reads] == [queue], name


ENV_CALL = re.compile(r"\benv\s*\.\s*(?:required|or|secret|optional_secret)(?:::<[^>]+>)?\(\s*\"([A-Z_]+)\"")
# Shared readers of a group of variables, and what a call of them means.
GROUP = re.compile(r"\b((?:\w+Config|Database|Charging|Door|Gateways|BatchPolicy)::from_env|session_policy)\(")


def variables_read(folder):
    code = "\n".join(file.read_text() for file in sorted(folder.rglob("*.rs")))
    names = set(ENV_CALL.findall(code))
    homes = {
        "AuthConfig::from_env": ["shared/platform/src/auth.rs"],
        "Database::from_env": ["shared/platform/src/database.rs"],
        "LessonspaceConfig::from_env": ["shared/providers/src/lessonspace/api.rs"],
        "StripeConfig::from_env": ["shared/providers/src/stripe/api.rs"],
        "FapshiConfig::from_env": ["shared/providers/src/fapshi/api.rs"],
        "Gateways::from_env": ["shared/providers/src/stripe/api.rs", "shared/providers/src/fapshi/api.rs"],
        "BatchPolicy::from_env": ["shared/platform/src/batch.rs"],
        "Door::from_env": ["shared/platform/src/webhook.rs"],
        "session_policy": ["shared/store/src/policy.rs"],
        "Charging::from_env": [
            "shared/platform/src/database.rs", "shared/store/src/policy.rs", "shared/store/src/charging.rs",
        ],
    }
    for group in set(GROUP.findall(code)):
        for home in homes[group]:
            names |= set(ENV_CALL.findall((ROOT / home).read_text()))
    return names - LOCAL_ONLY


def test_every_variable_that_the_code_reads_is_set_and_every_one_that_is_set_is_read(template):
    for name, function in functions(template).items():
        read = variables_read(ROOT / "functions" / crate_of(function))
        given = {v.removesuffix("_PARAMETER") for v in function["Environment"]["Variables"]}
        assert read == given, f"{name} lacks {read - given} and is given {given - read}"


def test_secrets_are_given_by_name_and_may_be_read(template):
    for name, function in functions(template).items():
        for variable, value in function["Environment"]["Variables"].items():
            assert not re.search(r"SECRET$|KEY$|PASSWORD|DATABASE_URL$", variable), f"{name}: {variable} by value"
            if variable.endswith("_PARAMETER"):
                path = (value["Fn::If"][1] if "Fn::If" in value else value)["Fn::Sub"]
                allowed = [json.dumps(s["Resource"]) for n, s in statements(template) if n == name]
                assert any(f"parameter{path}" in resource for resource in allowed), f"{name} may not read {path}"


def test_the_readmes_table_of_routes_is_the_templates(template):
    routes = set()
    for function in functions(template).values():
        for event in function.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                routes.add((event["Properties"]["Method"], event["Properties"]["Path"], crate_of(function)))
    rows = re.findall(r"^\| `(\w+) (/api[^`]+)` \| \[`([\w-]+)`\]", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert routes == set(rows)


def test_the_openapi_documents_routes_are_the_templates(template):
    document = json.loads((ROOT / "infra/openapi.json").read_text())
    described = {(m.upper(), path) for path, operations in document["paths"].items() for m in operations}
    deployed = {
        (event["Properties"]["Method"], event["Properties"]["Path"])
        for function in functions(template).values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi"
    }
    assert described == deployed


def test_every_alarm_points_to_a_section_of_the_runbook_and_everything_has_one(template):
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    sections = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", (ROOT / "infra/RUNBOOK.md").read_text(), re.MULTILINE)
    }
    watched = set()
    for name, alarm in alarms.items():
        file, section = alarm["AlarmDescription"].split("#")
        assert file == "infra/RUNBOOK.md" and section in sections, f"{name}: {section}"
        assert alarm["TreatMissingData"] == "notBreaching", name
        if alarm["Namespace"] == "Firstbell":
            # Counts that a function writes into its own summary line, under its own name.
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
            counted = (ROOT / "functions" / dimensions["function"] / "src/main.rs").read_text()
            assert dimensions["outcome"] == "ok" and f'"{alarm["MetricName"]}"' in counted, name
            continue
        watched.add(logical_id(alarm["Dimensions"][0]["Value"]))
    missing = {*functions(template), *of_type(template, "AWS::SQS::Queue"), "Api"} - watched
    assert not missing, f"nothing watches {missing}"


def test_consumers_and_the_api_together_stay_below_the_poolers_clients(template):
    consumers = sum(
        source["ScalingConfig"]["MaximumConcurrency"]
        for source in of_type(template, "AWS::Lambda::EventSourceMapping").values()
    )
    schedules = sum("ScheduleV2" in json.dumps(function) for function in functions(template).values())
    assert consumers + schedules + API_CONCURRENCY <= POOLER_CLIENTS


def test_every_function_has_a_sample_event(template):
    for function in functions(template).values():
        samples = list((ROOT / "events" / crate_of(function)).glob("*.json"))
        assert samples, crate_of(function)


def test_imports_run_one_way():
    """functions -> {providers, store, platform} -> domain; providers and store never import each other."""
    allowed = {
        "shared/domain": set(),
        "shared/platform": set(),
        "shared/providers": {"domain", "platform"},
        "shared/store": {"domain", "platform"},
    }
    house = {"domain", "platform", "providers", "store", "migrations", "simulators"}
    for folder, may in allowed.items():
        manifest = (ROOT / folder / "Cargo.toml").read_text()
        dependencies = manifest.split("[dependencies]")[1]
        imported = {name for name in house if re.search(rf"^{name}\b", dependencies, re.MULTILINE)}
        assert imported <= may, f"{folder} imports {imported - may}"
