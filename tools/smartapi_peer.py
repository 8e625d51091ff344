# ruff: noqa: T201, D103, PTH118, PTH119, PTH122, PTH123, UP010, UP025, C402, RUF059, E501, ICN001, PLR0915
# fmt: off
"""The peer: runs under Python 2.7 with the original Smart API library, never in this project's own environment.

    python2.7 tools/smartapi_peer.py write OUT          messages in every way the library can say something
    python2.7 tools/smartapi_peer.py read FILE...       what its parser makes of Turtle files, as JSON
    python2.7 tools/smartapi_peer.py echo OUT FILE...   parse, write again with its own serializer

The library is PyPI's SmartAPI 1.1.0 (BSD); it needs rdflib 4.2.2, rdflib-jsonld 0.4, isodate, simplejson, pytz,
python-dateutil and pycryptodome.  The cases under tests/cases/smartapi were made by this file.
"""

from __future__ import print_function

import datetime
import json
import os
import sys

import pytz
from rdflib import URIRef
from SmartAPI.common.RESOURCE import RESOURCE as R
from SmartAPI.common.Tools import Tools
from SmartAPI.factory.NotificationFactory import NotificationFactory
from SmartAPI.factory.RequestFactory import RequestFactory
from SmartAPI.factory.ResponseFactory import ResponseFactory
from SmartAPI.model.Activity import Activity
from SmartAPI.model.Entity import Entity
from SmartAPI.model.Input import Input
from SmartAPI.model.Offering import Offering
from SmartAPI.model.TemporalContext import TemporalContext
from SmartAPI.model.TimeSeries import TimeSeries
from SmartAPI.model.UnitPriceSpecification import UnitPriceSpecification
from SmartAPI.model.ValueObject import ValueObject
from SmartAPI.rdf.ItemizedList import ItemizedList
from SmartAPI.rdf.LinkedList import LinkedList
from SmartAPI.rdf.NudeList import NudeList
from SmartAPI.rdf.OrderedList import OrderedList

T = datetime.datetime(2018, 11, 20, 12, 0, tzinfo=pytz.FixedOffset(120))
H = "http://heila.example/vocabulary/1#"
EXTENSION = {"text/turtle": "ttl", "application/rdf+xml": "rdf", "application/ld+json": "jsonld"}
TURTLE, XML, JSONLD = "text/turtle", "application/rdf+xml", "application/ld+json"


def notification(zone=True):
    made = NotificationFactory().create("http://multipower.example/mgms")
    made.setGeneratedAt(T if zone else T.replace(tzinfo=None))
    made.setMessageId(7)
    activity = Activity("http://multipower.example/activity/7")
    activity.setMethod(R.WRITE)
    entity = Entity("http://multipower.example/microgrid")
    activity.addEntity(entity)
    made.addActivity(activity)
    return made, activity, entity


def power(value=20.0):
    return ValueObject(quantity=R.ACTIVEPOWER, unit=R.KILOWATT, value=value)


def series(items, quantity=R.ACTIVEPOWER, unit=R.KILOWATT):
    made = TimeSeries()
    made.setQuantity(quantity)
    made.setUnit(unit)
    made.setTimeStep("PT15M")
    made.setTemporalContext(TemporalContext(start=T, end=T + datetime.timedelta(minutes=45)))
    made.setList(items)
    return made


def items(kind, values=(1.5, -2.5, 1.5)):
    made = kind()
    made.add_items(list(values))
    return made


def messages():
    """(name, message, serializations) of every way to say something."""
    made, activity, entity = notification()
    value = power()
    value.setMinimum(0.0)
    value.setMaximum(30.0)
    entity.addValueObject(value)
    yield "value", made, (TURTLE, XML, JSONLD)
    for kind in (LinkedList, OrderedList, ItemizedList, NudeList):
        made, activity, entity = notification()
        activity.addTimeSerie(series(items(kind)))
        yield "series_" + kind.__name__.lower(), made, (TURTLE, XML, JSONLD) if kind in (LinkedList, OrderedList) else (TURTLE,)
    for name, content in (("one", items(ItemizedList, (4.0,))), ("python_list", [1, 2, 3]), ("empty", items(LinkedList, ()))):
        made, activity, entity = notification()
        activity.addTimeSerie(series(content))
        yield "series_" + name, made, (TURTLE,)
    made, activity, entity = notification()
    growing = TimeSeries()
    growing.setQuantity(R.REACTIVEPOWER)
    growing.setUnit(R.VOLTAMPEREREACTIVE)
    growing.setTimeStep("PT1H")
    growing.setTemporalContext(TemporalContext(start=T))
    growing.addListItem(1)
    growing.addListItem(2.5)
    activity.addTimeSerie(growing)
    yield "series_items", made, (TURTLE,)
    made, activity, entity = notification()
    activity.addTimeSerie(series(items(LinkedList)))
    activity.addTimeSerie(series(items(OrderedList, (7.0,)), R.ENERGYPRICE, R.EUROPERMEGAWATTHOUR))
    yield "series_two", made, (TURTLE,)
    made, activity, entity = notification()
    entity.addType(R.CIRCUITBREAKER)
    entity.addValueObject(ValueObject(quantity=R.BOOLEANSTATE, value=True))
    yield "breaker", made, (TURTLE,)
    made, activity, entity = notification()
    offering, price = Offering("http://multipower.example/offer/1"), UnitPriceSpecification()
    price.setCurrency("EUR")
    price.setCurrencyValue(55.5)
    price.setUnit(R.EUROPERMEGAWATTHOUR)
    offering.addPriceSpecification(price)
    entity.addOffering(offering)
    yield "offering", made, (TURTLE,)
    request = RequestFactory().create("http://multipower.example/mgms")
    request.setGeneratedAt(T)
    activity, given = Activity(), Input()
    given.addValueObject(power(5))
    activity.addInput(given)
    activity.setMethod(R.READ)
    request.addActivity(activity)
    yield "request", request, (TURTLE,)
    response = ResponseFactory().create("http://multipower.example/mgms")
    response.setGeneratedAt(T)
    activity, entity = Activity(), Entity("http://multipower.example/x")
    entity.addValueObject(power(6))
    activity.addEntity(entity)
    response.addActivity(activity)
    yield "response", response, (TURTLE,)
    made, activity, entity = notification(zone=False)
    entity.addValueObject(power())
    yield "naive_time", made, (TURTLE,)
    made, activity, entity = notification()
    entity.setName(u"S\xe4hk\xf6 \"1\" \\ \u6f22")
    entity.setDescription("line\nbreak")
    entity.addValueObject(power(1e-7))
    made.addValueObject(power(3))
    yield "texts", made, (TURTLE,)
    # one of HEILA's objects, said with nothing but the library
    made, activity, entity = notification()
    entity.addType(H + "ActivationNotification")
    fields = {"id": "dms/activation/1", "reserve": "fmp/reserve/1", "location": "molkerei", "start": T,
              "stop": T + datetime.timedelta(hours=1)}
    for key in sorted(fields):
        entity.add(URIRef(H + key), fields[key])
    for key, text in (("receiver", "mgms_molkerei"), ("sender", "ams"), ("id", "ams-7")):
        made.add(URIRef(H + key), text)
    entity.addValueObject(ValueObject(quantity=R.ACTIVEPOWER, unit=R.KILOWATT, value=-300.0))
    entity.addValueObject(ValueObject(quantity=R.REACTIVEPOWER, unit=R.VOLTAMPEREREACTIVE, value=0.0))
    yield "activation", made, (TURTLE, XML, JSONLD)


def write(out):
    for name, made, serializations in messages():
        for serialization in serializations:
            text, label = Tools.serializeMessage(made, serialization)
            with open(os.path.join(out, name + "." + EXTENSION[serialization]), "wb") as file:
                file.write(text)


def plain(value):
    if value.__class__.__name__ == "Variant":
        value = value.getValue()
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def context(found):
    return None if found is None else [plain(found.getStart()), plain(found.getEnd())]


def read(path):
    with open(path, "rb") as file:
        found = Tools.parseNotification(file.read())
    entities = [entity for activity in found.getActivities() for entity in activity.getEntities()]
    lists = [one for activity in found.getActivities() for one in activity.getTimeSeries()]
    return {
        "id": found.getMessageId(),
        "by": found.getGeneratedBy().getIdentifierUri(),
        "at": plain(found.getGeneratedAt()),
        "period": [context(activity.getTemporalContext()) for activity in found.getActivities()],
        "entities": [entity.getIdentifierUri() for entity in entities],
        "values": sorted([one.getQuantity(), one.getUnit(), plain(one.getValue())]
                         for entity in entities for one in entity.getValueObjects()),
        "series": sorted([one.getQuantity(), one.getUnit(), str(one.getTimeStep()), context(one.getTemporalContext()),
                          [plain(item) for item in one.getList().get_items()]] for one in lists),
    }


def echo(out, path):
    with open(path, "rb") as file:
        found = Tools.parseNotification(file.read())
    text, label = Tools.serializeNotification(found)
    with open(os.path.join(out, os.path.basename(path)), "wb") as file:
        file.write(text)


if __name__ == "__main__":
    command, rest = sys.argv[1], sys.argv[2:]
    if command == "write":
        write(rest[0])
    elif command == "read":
        found = dict((os.path.splitext(os.path.basename(path))[0], read(path)) for path in rest)
        print(json.dumps(found, sort_keys=True, indent=1, separators=(",", ": ")))
    elif command == "echo":
        for path in rest[1:]:
            echo(rest[0], path)
