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
STAGE, ORIGINS = "second-stage", "https://a.example,https://b.example"


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
    parameters = {"Stage": STAGE, "AllowedOrigins": ORIGINS}
    return Translator({}, Parser(), boto_session=session).translate(template, parameter_values=parameters)


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def functions(template):
    return of_type(template, "AWS::Serverless::Function")


def scheduled(template):
    return {name: f for name, f in functions(template).items() if "ScheduleV2" in json.dumps(f.get("Events", {}))}


def crate_of(function):
    return pathlib.PurePath(function["CodeUri"]).name


def crates():
    """Each function's folder, in its chapter's, by the function's name."""
    return {manifest.parent.name: manifest.parent for manifest in (ROOT / "functions").glob("*/*/Cargo.toml")}


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
    assert deployed == set(crates())


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


def test_a_second_stage_finds_every_name_free(translated):
    """What is named here has the stage in its name; everything else is named by CloudFormation."""

    def names_the_stage(value):
        return "${Stage}" in json.dumps(value) or STAGE in json.dumps(value)

    for resource, described in translated["Resources"].items():
        for key, value in described["Properties"].items():
            is_name = key.endswith("Name") and key not in ("MetricName", "StageName")
            if is_name and (isinstance(value, str) or "Fn::Sub" in value):
                assert names_the_stage(value), f"{resource}: {key} is {value}"
    for name, alarm in of_type(translated, "AWS::CloudWatch::Alarm").items():
        for namespace, *_ in queries(alarm):
            assert str(namespace).startswith("AWS/") or names_the_stage(namespace), f"{name} counts every stage"


def test_what_a_schedule_left_undone_is_not_tried_again_besides_the_next_tick(template):
    for name, function in scheduled(template).items():
        # Without this Lambda tries a failed run twice more, minutes later, beside the next ones.
        assert function["EventInvokeConfig"]["MaximumRetryAttempts"] == 0, name
        assert function["EventInvokeConfig"]["MaximumEventAgeInSeconds"] <= 60, name


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
        assert "LifecycleConfiguration" in bucket, name
        kept = template["Resources"][name]
        # A first deployment that fails must not leave a bucket behind that stops the second.
        assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name
        policies = of_type(template, "AWS::S3::BucketPolicy").values()
        [policy] = [json.dumps(p["PolicyDocument"]) for p in policies if logical_id(p["Bucket"]) == name]
        assert '"Deny"' in policy and '"aws:SecureTransport": "false"' in policy, name


def test_logs_end_and_the_access_log_has_no_ids_and_no_tokens(template):
    groups = of_type(template, "AWS::Logs::LogGroup")
    assert all("RetentionInDays" in group for group in groups.values())
    assert logical_id(template["Globals"]["Function"]["LoggingConfig"]["LogGroup"]) in groups
    settings = template["Resources"]["Api"]["Properties"]["AccessLogSettings"]
    assert logical_id(settings["DestinationArn"]) in groups
    said = set(re.findall(r"\$context\.([\w.]+)", settings["Format"]))
    assert "routeKey" in said
    assert not {name for name in said if re.search("path|query|domain|authorizer|rawUri", name, re.IGNORECASE)}, said
    json.loads(settings["Format"])


def test_a_browser_may_read_when_to_try_again_and_send_what_an_upload_is_signed_with(translated):
    api = translated["Resources"]["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"]
    bucket = translated["Resources"]["ArtifactsBucket"]["Properties"]["CorsConfiguration"]
    (condition, cors, _), (same, rules, _) = api["Fn::If"], bucket["Fn::If"]
    [rule] = rules["CorsRules"]
    assert condition == same == "HasOrigins"
    assert cors["allowOrigins"] == {"Fn::Split": [",", ORIGINS]}
    assert rule["AllowedOrigins"] == {"Fn::Split": [",", {"Ref": "AllowedOrigins"}]}
    assert "retry-after" in cors["exposeHeaders"]
    assert {"content-type", "if-none-match"} <= set(rule["AllowedHeaders"])


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("PublicBaseUrl", ["https://api.example.com/", "https://x.example/base/"],
         ["http://api.example.com/", "https://api.example.com", "https://x.example/?a=/", ""]),
        ("AllowedOrigins", ["https://a.example", "https://a.example,http://localhost:3000"],
         ["https://a.example/", "https://a.example, https://b.example", "https://a.example,", "*", "a.example"]),
    ],
)
def test_an_address_that_would_fail_silently_is_refused(template, parameter, good, bad):
    pattern = re.compile(template["Parameters"][parameter]["AllowedPattern"])
    assert all(pattern.fullmatch(value) for value in good)
    assert not any(pattern.fullmatch(value) for value in bad)


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
        "session_policy": ["shared/store/src/charge/policy.rs"],
        "Charging::from_env": ["shared/platform/src/database.rs", "shared/store/src/charge/charging.rs"],
    }
    for group in set(GROUP.findall(code)):
        for home in homes[group]:
            names |= set(ENV_CALL.findall((ROOT / home).read_text()))
    return names - LOCAL_ONLY


def test_every_variable_that_the_code_reads_is_set_and_every_one_that_is_set_is_read(template):
    for name, function in functions(template).items():
        read = variables_read(crates()[crate_of(function)])
        given = {v.removesuffix("_PARAMETER") for v in function["Environment"]["Variables"]}
        assert read == given, f"{name} lacks {read - given} and is given {given - read}"


def test_what_every_function_is_given_is_read_by_the_platform(template):
    platform = "\n".join(file.read_text() for file in sorted((ROOT / "shared/platform/src").glob("*.rs")))
    for variable in template["Globals"]["Function"]["Environment"]["Variables"]:
        assert f'env::var("{variable}")' in platform, variable


def test_secrets_are_given_by_name_and_may_be_read(template):
    for name, function in functions(template).items():
        for variable, value in function["Environment"]["Variables"].items():
            assert not re.search(r"SECRET$|KEY$|PASSWORD|DATABASE_URL$", variable), f"{name}: {variable} by value"
            if variable.endswith("_PARAMETER"):
                path = (value["Fn::If"][1] if "Fn::If" in value else value)["Fn::Sub"]
                allowed = [json.dumps(s["Resource"]) for n, s in statements(template) if n == name]
                assert any(f"parameter{path}" in resource for resource in allowed), f"{name} may not read {path}"
        # All are asked for by one call.
        calls = [s["Action"] for n, s in statements(template) if n == name and "ssm:" in json.dumps(s["Action"])]
        assert calls == ["ssm:GetParameters"], f"{name}: {calls}"


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


def queries(alarm):
    """What an alarm looks at, as (namespace, metric, its dimensions)."""
    metrics = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in metrics or [alarm]:
        yield metric["Namespace"], metric["MetricName"], {d["Name"]: d["Value"] for d in metric["Dimensions"]}


def test_every_alarm_tells_the_topic_and_points_to_a_section_of_the_runbook(template):
    sections = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", (ROOT / "infra/RUNBOOK.md").read_text(), re.MULTILINE)
    }
    tells = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        file, section = alarm["AlarmDescription"].split("#")
        assert file == "infra/RUNBOOK.md" and section in sections, f"{name}: {section}"
        assert alarm["AlarmActions"] == alarm["OKActions"] == tells, f"{name} rings nowhere"
        # No news is good news, but of a schedule, of which no news is the bad news.
        expected = "breaching" if name.endswith("StoppedAlarm") else "notBreaching"
        assert alarm["TreatMissingData"] == expected, name


def test_every_expression_of_an_alarm_counts_each_of_its_metrics(template):
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        if "Metrics" in alarm:
            [expression] = [query["Expression"] for query in alarm["Metrics"] if "Expression" in query]
            ids = [query["Id"] for query in alarm["Metrics"] if "MetricStat" in query]
            # A metric that nobody wrote for a while is no reason to forget the others.
            assert re.findall(r"FILL\((\w+), 0\)", expression) == ids and len(ids) <= 10, name


def test_everything_that_can_fail_unseen_is_watched(template):
    watched = set()
    for alarm in of_type(template, "AWS::CloudWatch::Alarm").values():
        for _, metric, dimensions in queries(alarm):
            watched |= {(metric, logical_id(value)) for value in dimensions.values() if isinstance(value, dict)}

    wanted = {("5xx", "Api")}
    for name in of_type(template, "AWS::SQS::Queue"):
        is_dead = name.endswith("DeadLetters")
        wanted.add(("ApproximateNumberOfMessagesVisible" if is_dead else "ApproximateAgeOfOldestMessage", name))
    for name, function in functions(template).items():
        # A route that fails is a 5xx of the API; of everything else nobody would hear.
        if "HttpApi" not in json.dumps(function.get("Events", {})):
            wanted.add(("Errors", name))
    wanted |= {("Invocations", name) for name in scheduled(template)}
    assert wanted <= watched, f"nothing watches {wanted - watched}"


def test_every_count_that_an_alarm_looks_at_is_written(template):
    """Counts that a function writes into its own summary line, under its own name."""
    written = (ROOT / "shared/platform/src/invocation.rs").read_text()
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        for namespace, metric, dimensions in queries(alarm):
            if "Firstbell" not in json.dumps(namespace):
                continue
            if "function" not in dimensions:
                assert dimensions == {"outcome": "panicked"} and f'"{metric}"' in written, name
                continue
            sources = sorted((crates()[dimensions["function"]] / "src").rglob("*.rs"))
            counted = "\n".join(source.read_text() for source in sources)
            assert dimensions["outcome"] == "ok" and f'"{metric}"' in counted, f"{name}: {metric}"


def test_all_functions_together_stay_below_the_poolers_clients(template):
    """One connection each: consumers are bounded by their mapping, everything else by what is reserved."""
    sources = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    bounds = {logical_id(s["FunctionName"]): s["ScalingConfig"]["MaximumConcurrency"] for s in sources}
    for name, function in functions(template).items():
        if "DATABASE_URL_PARAMETER" not in function["Environment"]["Variables"] or name in bounds:
            continue
        condition, bound, otherwise = function["ReservedConcurrentExecutions"]["Fn::If"]
        assert (condition, otherwise) == ("ReservesConcurrency", {"Ref": "AWS::NoValue"}), name
        bounds[name] = bound if isinstance(bound, int) else template["Parameters"][bound["Ref"]]["Default"]
    budget = template["Metadata"]["DatabaseConnections"]
    assert sum(bounds.values()) <= budget["PoolerClients"] - budget["LeftForOthers"], bounds


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
        # Not what only its tests need.
        [dependencies] = re.findall(r"^\[dependencies\]$(.*?)(?=^\[|\Z)", manifest, re.MULTILINE | re.DOTALL)
        imported = {name for name in house if re.search(rf"^{name}\b", dependencies, re.MULTILINE)}
        assert imported <= may, f"{folder} imports {imported - may}"


RULES = ROOT / "shared/domain/RULES.md"


def rules():
    """What `RULES.md` says under each of its anchors."""
    parts = re.split(r"^### (.+)$", RULES.read_text(), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_rules_have_an_anchor_of_their_own_and_name_the_code_that_keeps_them():
    anchors = [anchor for anchor, _ in rules()]
    assert len(anchors) == len(set(anchors)) and all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z]+", a) for a in anchors)
    for anchor, text in rules():
        decided = text.split("*Decided in*")
        assert len(decided) == 2, f"{anchor} does not say where it is decided"
        places = re.findall(r"\]\(([^)#]+)\)", decided[1])
        assert places and all((RULES.parent / place).is_file() for place in places), f"{anchor}: {places}"


def test_rules_that_are_cited_exist():
    anchors = {anchor for anchor, _ in rules()}
    for anchor in re.findall(r"\]\(#([\w-]+)\)", RULES.read_text()):
        assert anchor in anchors, f"RULES.md cites {anchor}"
    folders = ["functions", "shared", "infra", "tests", "events"]
    files = [*ROOT.glob("*.*"), *(file for folder in folders for file in (ROOT / folder).rglob("*.*"))]
    for file in files:
        if file.suffix not in (".rs", ".md", ".sql", ".py", ".yaml", ".json") or "target" in file.parts:
            continue
        text = file.read_text()
        for anchor in re.findall(r"\bRULES\.md#([\w-]+)", text):
            assert anchor in anchors, f"{file.relative_to(ROOT)} cites {anchor}"
        for link in re.findall(r"\]\(([^)\s]*\bRULES\.md)\b", text):
            assert (file.parent / link).resolve() == RULES, f"{file.relative_to(ROOT)} links to {link}"
