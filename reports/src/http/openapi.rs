//! The OpenAPI document, made of the questions themselves.

use std::sync::OnceLock;

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, KnownFormat, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    Response, ResponseBuilder, SchemaFormat,
};

use super::problem::Problem;
use super::question::{Column, Kind, Question};
use super::questions;
use super::routes::checksum;
use super::scope::MOST_ROWS;

/// The document as JSON, and what tells it from those of other versions, as an `ETag`.
///
/// # Errors
/// [`Problem`] where it cannot be written.
pub fn document() -> Result<&'static (String, String), Problem> {
    static DOCUMENT: OnceLock<(String, String)> = OnceLock::new();
    if let Some(document) = DOCUMENT.get() {
        return Ok(document);
    }
    let text = api().to_json().map_err(|error| Problem::failed(&error))?;
    let etag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), checksum(&text));
    Ok(DOCUMENT.get_or_init(|| (text, etag)))
}

/// What stands where nothing has to be told again.
fn unchanged() -> Response {
    ResponseBuilder::new()
        .description("Nothing has changed since the answer with this ETag.")
        .build()
}

fn api() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for question in questions::ALL {
        paths = paths.path(
            format!("/api/v1/{}", question.name),
            PathItem::new(HttpMethod::Get, operation(question)),
        );
    }
    let build = OperationBuilder::new()
        .operation_id(Some("build"))
        .summary(Some("The build that is served"))
        .response(
            "200",
            json(
                "The build.",
                object(&[(
                    "build",
                    nullable(text("Tells this build's content from any other.")),
                )]),
            ),
        )
        .response("304", unchanged());
    let build = problems(build, &[]);
    let mut weekly = OperationBuilder::new()
        .operation_id(Some("weekly-report"))
        .summary(Some("Every figure of the weekly report"))
        .response(
            "200",
            json(
                "The figures, as `podledger report weekly --format json` writes them; `advice_withheld` says why, where a server does not look \
                 at what containers asked for.",
                Schema::Object(ObjectBuilder::new().schema_type(Type::Object).build()),
            ),
        )
        .response("304", unchanged());
    weekly = problems(weekly, &[404, 503]);
    for (name, about) in [
        (
            "week",
            "ISO 8601 week, such as 2026-W46; without it the last that was observed whole.",
        ),
        (
            "zone",
            "IANA name of the zone in which weeks begin; without it UTC.",
        ),
        ("team", "One team instead of all."),
    ] {
        weekly = weekly.parameter(parameter(name, about, text(about), false));
    }
    paths = paths
        .path("/api/v1/build", PathItem::new(HttpMethod::Get, build))
        .path("/api/v1/weekly-report", PathItem::new(HttpMethod::Get, weekly))
        .path("/api/v1/sql", PathItem::new(HttpMethod::Post, sql()));
    let components = PROBLEMS.iter().fold(
        ComponentsBuilder::new()
            .schema("Problem", problem_schema())
            .security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))),
        |components, (status, about)| components.response(problem_name(*status), problem(about)),
    );
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("podledger")
                .version("1")
                .description(Some(
                    "What pods cost, by whom and for what. Money is text of US dollars with nine decimals; instants are RFC 3339 in UTC; \
                     the last word of a name is its unit. An answer is a function of its URL and the build, which `ETag` names.",
                )),
        )
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([
            SecurityRequirement::new("token", Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .build()
}

/// A query of one's own.
fn sql() -> OperationBuilder {
    let query = text("One SELECT in DuckDB's SQL over the tables of schema `marts`; at most 64 KiB.");
    let format = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "How rows are written; without it what `Accept` names first, else JSON.",
        ))
        .enum_values(Some(["json", "csv", "arrow", "parquet"]))
        .build();
    let limit = integer("Rows at most.", Some((0, i64::MAX.unsigned_abs())));
    let asked = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("query", query.clone())
        .property("format", Schema::Object(format.clone()))
        .property("limit", limit.clone())
        .required("query")
        .build();
    let content = |schema: Schema| Content::new(Some(RefOr::T(schema)));
    let body = RequestBodyBuilder::new()
        .description(Some("The query, alone or with what is asked beside it."))
        .content("application/json", content(Schema::Object(asked)))
        .content("text/plain", content(query))
        .required(Some(Required::True))
        .build();
    let column = object(&[("name", text("Its name.")), ("type", text("Its type in Arrow."))]);
    let row = Schema::Object(
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "Values by column. Decimals and whole numbers of more than 64 bits are text.",
            ))
            .build(),
    );
    let array = |items: Schema| Schema::Array(ArrayBuilder::new().items(RefOr::T(items)).build());
    let answer = object(&[
        ("columns", array(column)),
        ("rows", array(row)),
        ("row_count", integer("Rows that are told.", None)),
        (
            "is_complete",
            Schema::Object(
                ObjectBuilder::new()
                    .schema_type(Type::Boolean)
                    .description(Some("Whether these are all rows, or `limit` of more."))
                    .build(),
            ),
        ),
        (
            "build_id",
            nullable(integer("Number of the build whose marts were asked.", None)),
        ),
    ]);
    let file = |about: &str| {
        Schema::Object(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
                .description(Some(about))
                .build(),
        )
    };
    let rows = ResponseBuilder::new()
        .description("The rows. An answer that breaks off, without its end or its last chunk, is none.")
        .content("application/json", content(answer))
        .content(
            "text/csv",
            content(text("RFC 4180, with the columns' names first.")),
        )
        .content(
            "application/vnd.apache.arrow.stream",
            content(file("An Arrow IPC stream.")),
        )
        .content(
            "application/vnd.apache.parquet",
            content(file("One Parquet file.")),
        )
        .build();
    let operation = OperationBuilder::new()
        .operation_id(Some("sql"))
        .summary(Some("Ask in SQL"))
        .description(Some(
            "Asks the newest published snapshot in a process of its own, which has bounds of time and memory. Needs the role analyst. \
             400: DuckDB cannot run the query. 422: it is not allowed, or took too much memory. 503: nothing is published, or all places \
             are taken. 504: it took too long.",
        ))
        .request_body(Some(body))
        .parameter(parameter(
            "format",
            "Wins over that of the body and over `Accept`.",
            Schema::Object(format),
            false,
        ))
        .parameter(parameter("limit", "Rows at most.", limit, false))
        .response("200", rows);
    problems(operation, &[404, 406, 408, 413, 415, 422, 503, 504])
}

fn operation(question: &Question) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(question.name))
        .summary(Some(question.title))
        .description(Some(question.about))
        .response("200", json(question.about, answer(question)))
        .response("304", unchanged());
    // What there is to learn from may be more than a server holds.
    operation = problems(
        operation,
        if question.is_of_advice() {
            &[422, 503]
        } else {
            &[503]
        },
    );
    let pattern = |about: &str, pattern: &str| {
        Schema::Object(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(about))
                .pattern(Some(pattern))
                .build(),
        )
    };
    if question.has_range() {
        let about =
            "ISO 8601 week, such as 2026-W46; without it, `from` and `to` the last that was observed whole.";
        let week = "^[0-9]{4}-W([0-4][0-9]|5[0-3])$";
        operation = operation.parameter(parameter("week", about, pattern(about, week), false));
        for (name, about) in [
            (
                "from",
                "First date, such as 2026-11-09; with `to`, and instead of `week`.",
            ),
            ("to", "Last date; at most 400 days after the first."),
        ] {
            operation = operation.parameter(parameter(
                name,
                about,
                pattern(about, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
                false,
            ));
        }
    }
    let about = "IANA name of the zone in which days begin at midnight; without it UTC.";
    operation = operation.parameter(parameter("zone", about, text(about), false));
    for name in question.filters() {
        let about = format!("Only what has this {}.", name.replace('_', " "));
        operation = operation.parameter(parameter(
            name,
            &about,
            text(&about),
            question.required.contains(&name),
        ));
    }
    let columns: Vec<String> = question
        .columns
        .iter()
        .flat_map(|column| [column.name.to_owned(), format!("-{}", column.name)])
        .collect();
    let about = "Column to sort by; `-` before it puts the largest first.";
    let sort = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(columns))
        .build();
    operation
        .parameter(parameter("sort", about, Schema::Object(sort), false))
        .parameter(parameter(
            "limit",
            "Rows at most; without it 100.",
            integer("Rows at most.", Some((0, MOST_ROWS))),
            false,
        ))
        .parameter(parameter(
            "offset",
            "Rows before the first that is told.",
            integer("Rows before the first that is told.", Some((0, 10_000_000))),
            false,
        ))
}

fn answer(question: &Question) -> Schema {
    let mut row = ObjectBuilder::new().schema_type(Type::Object);
    for column in question.columns {
        row = row.property(column.name, cell(column)).required(column.name);
    }
    let rows = ArrayBuilder::new()
        .items(RefOr::T(Schema::Object(row.build())))
        .build();
    object(&[
        ("build", text("Tells this build's content from any other.")),
        ("from", instant("Start of the range.", false)),
        ("to", instant("End of the range, which is not in it.", false)),
        ("zone", text("Zone of the range.")),
        ("total", integer("Rows there are.", None)),
        ("offset", integer("Rows before the first that is told.", None)),
        (
            "next",
            nullable(text("Where the next rows are; null behind the last.")),
        ),
        ("rows", Schema::Array(rows)),
    ])
}

fn cell(column: &Column) -> Schema {
    match column.kind {
        Kind::Text => nullable(text(column.about)),
        kind if kind.is_usd() => Schema::Object(
            ObjectBuilder::new()
                .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
                .description(Some(column.about))
                .pattern(Some("^-?[0-9]+\\.[0-9]{9}$"))
                .build(),
        ),
        Kind::Instant => instant(column.about, true),
        _ => nullable(integer(column.about, None)),
    }
}

fn text(about: &str) -> Schema {
    Schema::Object(
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(about))
            .build(),
    )
}

fn instant(about: &str, is_nullable: bool) -> Schema {
    let schema = Schema::Object(
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some(about))
            .build(),
    );
    if is_nullable { nullable(schema) } else { schema }
}

fn integer(about: &str, bounds: Option<(u64, u64)>) -> Schema {
    let mut schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(about));
    if let Some((least, most)) = bounds {
        let number = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        schema = schema.minimum(Some(number(least))).maximum(Some(number(most)));
    }
    Schema::Object(schema.build())
}

fn nullable(schema: Schema) -> Schema {
    match schema {
        Schema::Object(mut object) => {
            if let SchemaType::Type(of) = object.schema_type.clone() {
                object.schema_type = SchemaType::from_iter([of, Type::Null]);
            }
            Schema::Object(object)
        }
        other => other,
    }
}

fn object(properties: &[(&str, Schema)]) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (name, schema) in properties {
        object = object.property(*name, schema.clone()).required(*name);
    }
    Schema::Object(object.build())
}

fn parameter(name: &str, about: &str, schema: Schema, is_required: bool) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .description(Some(about))
        .required(if is_required {
            Required::True
        } else {
            Required::False
        })
        .schema(Some(schema))
}

fn json(about: &str, schema: Schema) -> Response {
    ResponseBuilder::new()
        .description(about)
        .content("application/json", Content::new(Some(RefOr::T(schema))))
        .build()
}

/// Statuses of requests that are not answered, and what each means; what is wrong is told as RFC 9457 describes it.
const PROBLEMS: &[(u16, &str)] = &[
    (400, "Something in the request is wrong, which is named."),
    (401, "The request shows no token, or one that is not known."),
    (
        403,
        "The token does not allow this, or the request comes from a page of another origin.",
    ),
    (404, "What is asked for is not there."),
    (406, "No format that is accepted is one of those that there are."),
    (408, "The body took too long to arrive."),
    (413, "The body, the query or the answer is too large."),
    (414, "The URL is too long."),
    (415, "The body is of no kind that is read."),
    (
        421,
        "The server is not known by the name under which it was asked.",
    ),
    (422, "It is not allowed, or takes too much memory."),
    (
        429,
        "Too many requests, or too many wrong tokens: `Retry-After` says when to come again.",
    ),
    (500, "It could not be computed; the server's log says why."),
    (
        503,
        "There is nothing to answer from yet, or it took too long: `Retry-After` says when to come again.",
    ),
    (504, "The query took too long."),
];

/// Those with which any request may be met.
const ALWAYS: &[u16] = &[400, 401, 403, 414, 421, 429, 500];

/// The operation with what may be wrong with any request, and with this one.
fn problems(operation: OperationBuilder, with_this: &[u16]) -> OperationBuilder {
    ALWAYS
        .iter()
        .chain(with_this)
        .fold(operation, |operation, status| {
            operation.response(status.to_string(), Ref::from_response_name(problem_name(*status)))
        })
}

fn problem_name(status: u16) -> String {
    format!("Problem{status}")
}

fn problem(about: &str) -> Response {
    ResponseBuilder::new()
        .description(about)
        .content(
            "application/problem+json",
            Content::new(Some(Ref::from_schema_name("Problem"))),
        )
        .build()
}

fn problem_schema() -> Schema {
    object(&[
        ("type", text("`about:blank`: the status says what kind it is.")),
        ("title", text("What the status is called.")),
        ("status", integer("The status.", None)),
        ("detail", text("What is wrong, and how it is mended.")),
    ])
}
