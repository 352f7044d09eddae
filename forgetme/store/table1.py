"""The paper's Table 1, by one GROUP BY."""

from sqlalchemy import Connection, and_, case, func, select

from forgetme.store.record import ConceptStats
from forgetme.store.schema import sample

_OTHERS = ("rejected", "skipped", "flagged", "new", "prepared", "waiting", "broken")


def table1(connection: Connection) -> list[ConceptStats]:
    """Returns one line for each concept, first imported first; copies of an image count once."""
    columns = sample.c
    accepted = columns.state == "accepted"

    def count(condition):  # noqa: ANN001, ANN202
        return func.sum(case((condition, 1), else_=0))

    def over_accepted(column):  # noqa: ANN001, ANN202
        return case((accepted, column))

    query = (
        select(
            columns.concept,
            func.count().label("images"),
            count(accepted).label("selected"),
            count(and_(accepted, columns.decided_how == "human")).label("human"),
            count(and_(accepted, columns.decided_how == "policy")).label("policy"),
            *(count(columns.state == state).label(state) for state in _OTHERS),
            func.avg(over_accepted(columns.score_d)).label("mean_d"),
            func.avg(over_accepted(columns.score_s)).label("mean_s"),
            func.min(over_accepted(columns.variant)).label("variant"),
            func.max(over_accepted(columns.variant)).label("other_variant"),
        )
        .where(columns.twin_of.is_(None), columns.state != "deleted")
        .group_by(columns.concept)
        .order_by(func.min(columns.seq))
    )
    lines = []
    for found in connection.execute(query).mappings():
        line = dict(found)
        if line["variant"] != line.pop("other_variant"):
            line |= {"variant": "mixed", "mean_d": None, "mean_s": None}
        line["success_percent"] = 100 * line["selected"] / line["images"]
        lines.append(ConceptStats(**line))
    return lines
