"""What is known about a flight an hour before it should leave: entities, sources, features, and what data must be like.

One row of ``flights`` carries two clocks. The departure delay is known when the plane leaves, the arrival delay,
which is also the label, hours later. ``column_times`` says so once, and no feature below can see the future.
"""

from __future__ import annotations

import trivet as tv

origin = tv.Entity("origin", key="origin", type="string")
carrier = tv.Entity("carrier", key="carrier", type="string")
dest = tv.Entity("dest", key="dest", type="string")
plane = tv.Entity("plane", key="tailnum", type="string")

flights = tv.Source("flights", "data/flights.parquet", event_time="dep_utc", column_times={"arr_delay": "arr_utc"})
# A report sums up its hour, so it is complete only when the hour is over.
weather_reports = tv.Source("weather", "data/weather.parquet", event_time="time_hour", known_after="1h")
# One snapshot without times: a plane's age and seats date from its building, so they count as always known.
registry = tv.Source("planes", "data/planes.parquet")

SOURCES = [flights, weather_reports, registry]


@tv.feature_view(entity=origin, source=flights)
def congestion():
    """How late planes leave this airport at the moment, and how many do.

    Owner: operations
    Tags: delay
    """
    return {"delay_3h": tv.mean("dep_delay", "3h"), "departures_3h": tv.count("3h")}


@tv.feature_view(entity=carrier, source=flights)
def punctuality():
    """How late this company has been leaving this week."""
    return {"carrier_delay_7d": tv.mean("dep_delay", "7d")}


@tv.feature_view(entity=dest, source=flights)
def arrivals():
    """How late flights have been landing at the destination this week."""
    return {"dest_delay_7d": tv.mean("arr_delay", "7d")}


@tv.feature_view(entity=plane, source=flights)
def rotation():
    """What this plane has just been through: a plane that lands late leaves late."""
    return {"last_delay": tv.latest("arr_delay", ttl="30d", skip_nulls=True)}


weather = tv.FeatureView(
    "weather",
    entity=origin,
    source=weather_reports,
    features=["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"],
    ttl="6h",
)
planes = tv.FeatureView("planes", entity=plane, source=registry, features=["age", "seats"])


@tv.on_demand(request={"hour": "int", "minute": "int"})
def clock(hour, minute):
    """What only the caller knows, the schedule, as the model wants it: the same lines in training and in serving."""
    return {"minute_of_day": hour * 60 + minute}


VIEWS = [congestion, punctuality, arrivals, rotation, weather, planes]
delays = tv.FeatureService("delays", [*VIEWS, clock])
"""What the delay model sees."""

flights_are = tv.Expectations(
    flights,
    [
        tv.expect("id").unique(),
        tv.expect("dep_delay").between(-120, 3000),
        tv.expect("arr_delay").between(-120, 3000),
        tv.expect(where="dep_delay is null or dep_utc is not null"),
    ],
)
weather_is = tv.Expectations(
    weather_reports,
    [
        tv.expect("origin", "time_hour").unique(),
        tv.expect("temp").between(-40, 120, severity="warn"),
        tv.expect("temp").not_null(at_most=0.01),
    ],
)
DEFINITIONS = [delays, flights_are, weather_is]
