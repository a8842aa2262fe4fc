"""What a deployment rests on: the template translates, cfn-lint finds nothing in the result, and our own
rules hold, which linters do not know."""

import functools
import json
import pathlib
import re
import subprocess
import sys

import pytest
import sam
from sam import crate_of, functions, of_type, own_variables, shared_variables

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Read by the code, set by nobody's template: the local stack's clock, and what Lambda itself sets.
LOCAL_ONLY = {"CLOCK_OFFSET_FILE", "AWS_ENDPOINT_URL"}
STAGE, ORIGINS = "second-stage", "https://a.example,https://b.example"


@pytest.fixture(scope="session")
def template():
    return sam.read()


@pytest.fixture(scope="session")
def translated():
    template = sam.read()
    for function in functions(template).values():
        function["CodeUri"] = "s3://code/function.zip"
    return sam.translate(template, {"Stage": STAGE, "AllowedOrigins": ORIGINS})


def scheduled(template):
    return {name: f for name, f in functions(template).items() if "ScheduleV2" in json.dumps(f.get("Events", {}))}


def crates():
    """Each function's folder, in its chapter's, by the function's name."""
    return {manifest.parent.name: manifest.parent for manifest in (ROOT / "functions").glob("*/*/Cargo.toml")}


def listed(value):
    return value if isinstance(value, list) else [value]


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
        # What a consumer sets aside itself lies where what it failed at too often is put.
        aside = own_variables(deployed[logical_id(source["FunctionName"])])["DEAD_LETTER_QUEUE_URL"]
        assert aside == {"Ref": logical_id(queue["RedrivePolicy"]["deadLetterTargetArn"])}, f"{name}: dead letters"


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
    assert all(names_the_stage(namespace) for namespace, _ in counted_from_logs(translated))


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


def statements(translated):
    """What each function may do: what its own role says, and the policies that the role shares with others."""
    policies = of_type(translated, "AWS::IAM::ManagedPolicy")
    for name, function in of_type(translated, "AWS::Lambda::Function").items():
        role = translated["Resources"][logical_id(function["Role"])]["Properties"]
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        shared = [policy for policy in role["ManagedPolicyArns"] if isinstance(policy, dict)]
        documents += [policies[logical_id(policy)]["PolicyDocument"] for policy in shared]
        for document in documents:
            for statement in listed(document["Statement"]):
                yield name, statement


def resources_of(translated, action):
    """The resources on which each function may do this, by the function's name."""
    allowed = {}
    for name, statement in statements(translated):
        if action in listed(statement["Action"]):
            allowed.setdefault(name, []).extend(listed(statement["Resource"]))
    return allowed


def test_a_function_has_what_the_template_grants_and_only_logs_from_aws_itself(translated):
    granted = set()
    for name, role in of_type(translated, "AWS::IAM::Role").items():
        shared = role.get("ManagedPolicyArns", [])
        assert len(shared) <= 10, f"{name} has more policies than a role may have"
        granted |= {logical_id(policy) for policy in shared if isinstance(policy, dict)}
        if "lambda.amazonaws.com" in json.dumps(role["AssumeRolePolicyDocument"]):
            from_aws = [policy for policy in shared if not isinstance(policy, dict)]
            assert from_aws == ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"], name
    assert granted == set(of_type(translated, "AWS::IAM::ManagedPolicy")), "a policy that nobody has"


def test_no_permission_has_a_star(translated):
    for name, statement in statements(translated):
        assert statement["Effect"] == "Allow" and not {"NotAction", "NotResource"} & set(statement), name
        for action in listed(statement["Action"]):
            assert "*" not in action, f"{name}: {action}"
        for resource in listed(statement["Resource"]):
            text = json.dumps(resource)
            # Keys below a bucket are many; the bucket itself is named.
            assert "*" not in text or "Bucket.Arn}/" in text, f"{name}: {text}"


def test_only_a_queues_consumer_may_receive_from_it(template, translated):
    sources = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    consumed = {logical_id(source["FunctionName"]): [source["EventSourceArn"]] for source in sources}
    for action in ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"]:
        assert resources_of(translated, f"sqs:{action}") == consumed, action


# Who puts messages on which queue. Most of them have just written the message to the outbox, and send it at once.
SENDERS = {
    "ClassroomEvents": {"WebhookLessonspace", "WebhookLivekit", "WebhookPencilspaces", "Reconcile", "RelayOutbox"},
    "GatewayEvents": {"WebhookStripe", "WebhookFapshi", "RelayOutbox"},
    "Payments": {
        "ProcessCharges", "ProcessChargesNow", "CancelSession", "StartPayment", "GetPayment", "ApplyGatewayEvent",
        "StepTab", "RefundPayment", "Reconcile", "RelayOutbox",
    },
    "Refunds": {"StepTab", "Reconcile", "RelayOutbox"},
}


def test_each_function_may_send_to_just_the_queues_that_it_has_messages_for(template, translated):
    wanted = {queue: set(senders) for queue, senders in SENDERS.items()}
    for name, function in functions(template).items():
        if "DEAD_LETTER_QUEUE_URL" in own_variables(function):
            wanted[logical_id(own_variables(function)["DEAD_LETTER_QUEUE_URL"])] = {name}
    allowed = {}
    for name, queues in resources_of(translated, "sqs:SendMessage").items():
        for queue in queues:
            assert queue == {"Fn::GetAtt": [logical_id(queue), "Arn"]}, name
            allowed.setdefault(logical_id(queue), set()).add(name)
    assert allowed == wanted


def test_every_function_knows_each_queue_by_the_name_that_the_code_has_for_it(template):
    named = ",".join(f"{re.sub('(?<!^)(?=[A-Z])', '-', queue).lower()}=${{{queue}}}" for queue in SENDERS)
    assert shared_variables(template)["QUEUES"] == {"Fn::Sub": named}
    messages = (ROOT / "shared/jobs/src/messages.rs").read_text()
    names = dict(re.findall(r'pub const (\w+): &str = "([\w-]+)"', messages))
    [known] = re.findall(r"pub const QUEUES: \[&str; \d+\] = \[([\w, ]+)\]", messages)
    assert {names[name] for name in known.split(", ")} == set(re.findall(r"([\w-]+)=", named))
    assert not [name for name, function in functions(template).items() if "QUEUES" in own_variables(function)]


ENV_CALL = re.compile(r"\benv\s*\.\s*(?:required|or|secret|optional_secret)(?:::<[^>]+>)?\(\s*\"([A-Z_]+)\"")


@functools.cache
def readers():
    """What reads a group of variables for several functions: the code of each, by the name that it is called by."""
    found = {}
    for file in sorted((ROOT / "shared").rglob("*.rs")):
        code = file.read_text()
        for reader in re.finditer(r"^( *)(?:pub\S* )?fn (\w+)\([^)]*\benv: &mut [\w:]*Env\b", code, re.MULTILINE):
            indent, name = reader.groups()
            body = code[reader.end() : code.index(f"\n{indent}}}\n", reader.end())]
            owners = re.findall(r"^impl(?:<[^>]*>)? (?:\w+ for )?(\w+)", code[: reader.start()], re.MULTILINE)
            owner = f"{owners[-1]}::" if indent else ""
            found[owner + name] = body.replace("Self::", owner)
    return found


def variables_read(code):
    names, known = set(ENV_CALL.findall(code)), dict(readers())
    called = {name for name in known if re.search(rf"\b{name}\(", code)}
    while called:
        body = known.pop(called.pop())
        names |= set(ENV_CALL.findall(body))
        called |= {name for name in known if re.search(rf"\b{name}\(", body)}
    return names - LOCAL_ONLY


def variables_read_by(function):
    sources = sorted(crates()[crate_of(function)].rglob("*.rs"))
    return variables_read("\n".join(source.read_text() for source in sources))


def bare(variables):
    return {variable.removesuffix("_PARAMETER") for variable in variables}


def test_every_variable_that_the_code_reads_is_set_and_every_one_that_is_set_is_read(template):
    shared, read_by_anybody = bare(shared_variables(template)), set()
    for name, function in functions(template).items():
        read, own = variables_read_by(function), bare(own_variables(function))
        assert read <= shared | own, f"{name} lacks {read - shared - own}"
        assert own <= read - shared, f"{name} is given {own - read | own & shared}"
        read_by_anybody |= read
    platform = "\n".join(file.read_text() for file in sorted((ROOT / "shared/platform/src").glob("*.rs")))
    unread = {variable for variable in shared - read_by_anybody if f'env::var("{variable}")' not in platform}
    assert not unread, f"nobody reads {unread}"


# Parameters as long as they get: the certificate is Supabase's, the rest is generous.
LONG = {
    "Stage": "a-stage-of-16-ch",
    "DatabaseCaPem": "-----BEGIN CERTIFICATE-----\n" + ("x" * 64 + "\n") * 29 + "-----END CERTIFICATE-----\n",
    "JwtIssuer": "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
    "JwksUrl": "https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",
    "PublicBaseUrl": "https://" + "a" * 60 + ".example/",
    "LessonspaceOrganisation": "1234567890",
    "LessonspaceRegion": "ap-southeast-2",
    "PencilApiUrl": "https://apis.pencilapp.com/public/api/",
    "LiveKitUrl": "wss://" + "a" * 60 + ".livekit.cloud",
    "LiveKitPageUrl": "https://" + "a" * 60 + ".example/lessons/room",
    "FapshiApiUser": "00000000-0000-0000-0000-000000000000",
    "FapshiPayoutUser": "00000000-0000-0000-0000-000000000000",
    "PaymentReturnUrl": "https://" + "a" * 60 + ".example/payments/return",
    "RefundReviewAbove": "9" * 18,
}
# What `!Ref` of a resource becomes, as long as AWS lets its name be.
LONG_REFERENCES = {
    "AWS::SQS::Queue": "https://sqs.ap-southeast-2.amazonaws.com/123456789012/" + "q" * 80,
    "AWS::S3::Bucket": "b" * 63,
}


def longest(value, template):
    """A variable's value, as long as it may get."""
    match value:
        case {"Ref": name} if name in template["Resources"]:
            return LONG_REFERENCES[template["Resources"][name]["Type"]]
        case {"Ref": name}:
            return LONG[name] if name in LONG else str(template["Parameters"][name]["Default"])
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{(\w+)\}", lambda found: longest({"Ref": found[1]}, template), text)
        case {"Fn::If": [_, this, that]}:
            return max(longest(this, template), longest(that, template), key=len)
    return value


def test_no_functions_variables_exceed_lambdas_four_kilobytes(template):
    for name, function in functions(template).items():
        variables = {**shared_variables(template), **own_variables(function)}
        given = {variable: longest(value, template) for variable, value in variables.items()}
        # Lambda measures them as JSON, in which each line end of a certificate is two characters.
        assert len(json.dumps(given, separators=(",", ":"))) < 4096, name


def test_secrets_are_given_by_name_and_only_who_uses_one_may_read_it(template, translated):
    allowed = resources_of(translated, "ssm:GetParameters")
    # All are asked for by one call, and by no other.
    assert {a for _, s in statements(translated) for a in listed(s["Action"]) if "ssm:" in a} == {"ssm:GetParameters"}
    for name, function in functions(template).items():
        variables = {**shared_variables(template), **own_variables(function)}
        by_value = [v for v in variables if re.search(r"SECRET$|KEY$|PASSWORD|DATABASE_URL$", v)]
        assert not by_value, f"{name}: {by_value} by value"
        used = [variables[v] for v in map("{}_PARAMETER".format, variables_read_by(function)) if v in variables]
        paths = {(value["Fn::If"][1] if "Fn::If" in value else value)["Fn::Sub"] for value in used}
        may_read = {resource["Fn::Sub"].split(":parameter")[1] for resource in allowed.get(name, [])}
        assert may_read == paths, f"{name} may read {may_read} and uses {paths}"


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
        yield metric["Namespace"], metric["MetricName"], {d["Name"]: d["Value"] for d in metric.get("Dimensions", [])}


def counted_from_logs(template):
    """What the log group's lines are counted into, as (namespace, metric)."""
    for counted in of_type(template, "AWS::Logs::MetricFilter").values():
        for transformation in counted["MetricTransformations"]:
            yield transformation["MetricNamespace"], transformation["MetricName"]


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
    wanted |= {("Invocations", name) for name in scheduled(template)}
    assert wanted <= watched, f"nothing watches {wanted - watched}"


# Lambda's own last line on an invocation (developer guide, "Telemetry API Event schema reference"), and one of ours.
LINES = [
    ({"type": "platform.report", "record": {"requestId": "1", "status": "success", "metrics": {}}}, False),
    ({"type": "platform.report", "record": {"requestId": "1", "status": "timeout", "metrics": {}}}, True),
    ({"type": "platform.report", "record": {"status": "error", "errorType": "Runtime.ExitError"}}, True),
    ({"type": "platform.report", "record": {"requestId": "1", "status": "failure"}}, True),
    ({"type": "platform.runtimeDone", "record": {"requestId": "1", "status": "timeout"}}, False),
    ({"level": "ERROR", "message": "invocation", "function": "launch", "outcome": "failed"}, False),
]


def test_whatever_stops_a_function_is_counted_and_rings(template):
    [failed] = of_type(template, "AWS::Logs::MetricFilter").values()
    logging = template["Globals"]["Function"]["LoggingConfig"]
    assert logging["LogFormat"] == "JSON" and logical_id(logging["LogGroup"]) == logical_id(failed["LogGroupName"])
    assert not [name for name, function in functions(template).items() if "LoggingConfig" in function]

    conditions = re.findall(r'\$\.([\w.]+) (!?=) "([^"]+)"', failed["FilterPattern"])
    assert failed["FilterPattern"] == "{ " + " && ".join(f'$.{p} {sign} "{v}"' for p, sign, v in conditions) + " }"
    for line, is_counted in LINES:
        met = []
        for path, sign, value in conditions:
            at = line
            for key in path.split("."):
                at = at.get(key, {})
            met.append((at == value) == (sign == "="))
        assert all(met) == is_counted, line

    watched = [query for alarm in of_type(template, "AWS::CloudWatch::Alarm").values() for query in queries(alarm)]
    for namespace, metric in counted_from_logs(template):
        assert (namespace, metric, {}) in watched


def test_every_count_that_an_alarm_looks_at_is_written(template):
    """Counts that a function writes into its own summary line, under its own name."""
    written = (ROOT / "shared/platform/src/invocation.rs").read_text()
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        for namespace, metric, dimensions in queries(alarm):
            if "Firstbell" not in json.dumps(namespace) or (namespace, metric) in counted_from_logs(template):
                continue
            if "function" not in dimensions:
                assert dimensions == {"outcome": "panicked"} and f'"{metric}"' in written, name
                continue
            sources = sorted((crates()[dimensions["function"]] / "src").rglob("*.rs"))
            counted = "\n".join(source.read_text() for source in sources)
            assert dimensions["outcome"] == "ok" and f'"{metric}"' in counted, f"{name}: {metric}"


def test_all_functions_together_stay_below_the_poolers_clients(template, translated):
    """One connection for each that may read the database's address: consumers are bounded by their mapping, everything
    else by what is reserved."""
    secrets = resources_of(translated, "ssm:GetParameters").items()
    connected = {name for name, parameters in secrets if "/database-url" in json.dumps(parameters)}
    sources = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    bounds = {logical_id(s["FunctionName"]): s["ScalingConfig"]["MaximumConcurrency"] for s in sources}
    for name, function in functions(template).items():
        if name not in connected or name in bounds:
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
    """functions -> {jobs, providers}, jobs -> store, {providers, store} -> {domain, platform}: providers and store
    never import each other."""
    allowed = {
        "shared/domain": set(),
        "shared/platform": set(),
        "shared/jobs": {"domain", "platform", "store"},
        "shared/providers": {"domain", "platform"},
        "shared/store": {"domain", "platform"},
    }
    assert set(allowed) == {f"shared/{manifest.parent.name}" for manifest in (ROOT / "shared").glob("*/Cargo.toml")}
    house = {"domain", "jobs", "platform", "providers", "store", "migrations", "simulators"}
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
