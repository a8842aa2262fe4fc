"""`template.yaml`: as it is written, and as SAM hands it to CloudFormation."""

import json
import pathlib

TEMPLATE = pathlib.Path(__file__).resolve().parents[2] / "template.yaml"


def read():
    """The template as data, with what YAML's `*name` stands for written out at each place, as `sam deploy` does."""
    from samtranslator.yaml_helper import yaml_parse

    return json.loads(json.dumps(yaml_parse(TEMPLATE.read_text())))


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def functions(template):
    return of_type(template, "AWS::Serverless::Function")


def crate_of(function):
    return pathlib.PurePath(function["CodeUri"]).name


def shared_variables(template):
    """The variables that every function has."""
    return template["Globals"]["Function"]["Environment"]["Variables"]


def own_variables(function):
    """The variables that only this function has, and what the template says of it."""
    return function.get("Environment", {}).get("Variables", {})


def translate(template, parameters):
    """What CloudFormation gets; changes what it is given."""
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    session = boto3.Session(region_name="us-east-1")
    return Translator({}, Parser(), boto_session=session).translate(template, parameter_values=parameters)
