//! Answers as bytes that programs read, piece by piece: memory does not grow with the rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::display;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An array of objects. Decimals and whole numbers of more than 64 bits are text; instants are RFC 3339 in UTC; NULL is `null`.
    Json,
    /// RFC 4180 with the columns' names first; NULL is empty.
    Csv,
    /// The same, for spreadsheets: a text that begins like a formula is told to be text.
    CsvForPeople,
    /// An Arrow IPC stream.
    Arrow,
    /// One Parquet file, compressed with zstd.
    Parquet,
}

/// Rows of a Parquet file that are kept in memory until they are written: a row group.
const ROW_GROUP: usize = 65_536;
const ROW_GROUP_BYTES: usize = 32 << 20;

impl Format {
    /// The format of that name: `json`, `csv`, `arrow` or `parquet`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "arrow" => Some(Self::Arrow),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The media type, as IANA has it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv | Self::CsvForPeople => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether its files can hold a column as it is; what they cannot hold becomes text.
    fn holds(self, kind: &DataType) -> bool {
        match self {
            Self::Arrow => true,
            Self::Csv | Self::CsvForPeople => !kind.is_nested() && !is_binary(kind),
            Self::Json => match kind {
                DataType::Union(..) => false,
                DataType::Map(entries, _) => match entries.data_type() {
                    DataType::Struct(fields) => {
                        let mut fields = fields.iter().map(|field| field.data_type());
                        fields.next() == Some(&DataType::Utf8) && fields.all(|kind| self.holds(kind))
                    }
                    _ => false,
                },
                kind => parts_of(kind).all(|part| self.holds(part.data_type())),
            },
            Self::Parquet => match kind {
                DataType::Union(..) | DataType::Interval(_) | DataType::Null => false,
                kind => parts_of(kind).all(|part| self.holds(part.data_type())),
            },
        }
    }
}

fn is_binary(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    )
}

fn parts_of(kind: &DataType) -> impl Iterator<Item = &FieldRef> {
    let (one, many) = match kind {
        DataType::List(part)
        | DataType::LargeList(part)
        | DataType::FixedSizeList(part, _)
        | DataType::Map(part, _) => (Some(part), None),
        DataType::Struct(parts) => (None, Some(parts)),
        _ => (None, None),
    };
    one.into_iter()
        .chain(many.into_iter().flat_map(|parts| parts.iter()))
}

/// Writes an answer.
pub struct Rendering {
    format: Format,
    /// The columns as they are written.
    schema: SchemaRef,
    rows: u64,
    /// What formats need that are one whole.
    whole: Whole,
}

enum Whole {
    None,
    Arrow(StreamWriter<Vec<u8>>),
    Parquet(ArrowWriter<Vec<u8>>),
}

impl Rendering {
    /// Of rows with these columns.
    ///
    /// # Errors
    /// Where the format cannot have such columns.
    pub fn new(format: Format, schema: &Schema) -> Result<Self, ArrowError> {
        let schema = Arc::new(written(format, schema));
        let whole = match format {
            Format::Arrow => Whole::Arrow(StreamWriter::try_new(Vec::new(), &schema)?),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP))
                    .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                    .build();
                Whole::Parquet(ArrowWriter::try_new(
                    Vec::new(),
                    Arc::clone(&schema),
                    Some(properties),
                )?)
            }
            _ => Whole::None,
        };
        Ok(Self {
            format,
            schema,
            rows: 0,
            whole,
        })
    }

    /// How many rows were written.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What comes before all rows.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn begin(&mut self) -> Result<Vec<u8>, ArrowError> {
        match self.format {
            Format::Json => Ok(b"[".to_vec()),
            Format::Csv | Format::CsvForPeople => {
                self.csv(&RecordBatch::new_empty(Arc::clone(&self.schema)), true)
            }
            Format::Arrow | Format::Parquet => Ok(self.written()),
        }
    }

    /// Some rows.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let batch = self.as_written(batch)?;
        let is_first = self.rows == 0;
        self.rows += batch.num_rows() as u64;
        match &mut self.whole {
            Whole::Arrow(writer) => writer.write(&batch)?,
            Whole::Parquet(writer) => writer.write(&batch)?,
            Whole::None if self.format == Format::Json => return json(&batch, is_first),
            Whole::None => return self.csv(&batch, false),
        }
        Ok(self.written())
    }

    /// What comes after all rows.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn end(mut self) -> Result<Vec<u8>, ArrowError> {
        match &mut self.whole {
            Whole::Arrow(writer) => writer.finish()?,
            Whole::Parquet(writer) => {
                writer.finish()?;
            }
            Whole::None if self.format == Format::Json => return Ok(b"\n]".to_vec()),
            Whole::None => return Ok(Vec::new()),
        }
        Ok(self.written())
    }

    /// What was written since it was last asked.
    fn written(&mut self) -> Vec<u8> {
        match &mut self.whole {
            Whole::None => Vec::new(),
            Whole::Arrow(writer) => std::mem::take(writer.get_mut()),
            Whole::Parquet(writer) => std::mem::take(writer.inner_mut()),
        }
    }

    /// The columns as they are written.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The rows with columns that the format can hold.
    fn as_written(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let is_for_people = self.format == Format::CsvForPeople;
        let mut fields = self.schema.fields().to_vec();
        let mut columns = Vec::with_capacity(fields.len());
        for (column, field) in batch.columns().iter().zip(&mut fields) {
            let is_text = *field.data_type() == DataType::Utf8;
            let shown = |text: String| if is_for_people { display::csv(&text) } else { text };
            let end = match (self.format, column.data_type()) {
                (Format::Json, DataType::Timestamp(_, None)) => "Z",
                _ => "",
            };
            let as_it_is = column.data_type() == field.data_type() && !(is_for_people && is_text);
            columns.push(match self.format {
                Format::Arrow | Format::Parquet if as_it_is => Arc::clone(column),
                _ if as_it_is => match with_infinity(column, end)? {
                    Some(text) => {
                        *field = Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8));
                        text
                    }
                    None => Arc::clone(column),
                },
                _ if is_text => as_text(column, shown)?,
                _ => cast(column, field.data_type())?,
            });
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    fn csv(&self, batch: &RecordBatch, has_header: bool) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::new();
        let mut writer = arrow::csv::WriterBuilder::new()
            .with_header(has_header)
            .build(&mut bytes);
        writer.write(batch)?;
        drop(writer);
        Ok(bytes)
    }
}

fn json(batch: &RecordBatch, is_first: bool) -> Result<Vec<u8>, ArrowError> {
    let instant = "%Y-%m-%dT%H:%M:%S%.fZ".to_owned();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(instant)
        .build::<_, JsonArray>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let array = writer.into_inner();
    let rows = array
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"))
        .unwrap_or(&array);
    let mut bytes = if is_first { b"\n".to_vec() } else { b",\n".to_vec() };
    bytes.extend_from_slice(rows);
    Ok(bytes)
}

/// The values of a column as people are shown them; `None` is NULL.
///
/// # Errors
/// Where one cannot be shown.
pub fn shown(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match with_infinity(column, "")? {
        Some(texts) => Ok(texts),
        None => as_text(column, |text| text),
    }
}

/// A column as text, as DuckDB's shell would show it.
fn as_text(column: &ArrayRef, shown: impl Fn(String) -> String) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let texts: Result<Vec<Option<String>>, ArrowError> = (0..column.len())
        .map(|at| {
            if column.is_null(at) {
                return Ok(None);
            }
            formatter.value(at).try_to_string().map(&shown).map(Some)
        })
        .collect();
    Ok(Arc::new(StringArray::from(texts?)))
}

/// A type with text for decimals, which readers of JSON would round.
fn exact(kind: &DataType) -> DataType {
    let part = |field: &FieldRef| {
        let kind = exact(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(kind))
    };
    match kind {
        kind if kind.is_decimal() => DataType::Utf8,
        DataType::List(field) => DataType::List(part(field)),
        DataType::LargeList(field) => DataType::LargeList(part(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(part(field), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(part(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(part).collect()),
        kind => kind.clone(),
    }
}

/// Instants and days as text, if one of them is `infinity` or `-infinity`: the largest and the smallest number but one in DuckDB. `end` is what is
/// written after an instant.
fn with_infinity(column: &ArrayRef, end: &str) -> Result<Option<ArrayRef>, ArrowError> {
    let numbers = match column.data_type() {
        DataType::Date32 => cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?,
        DataType::Timestamp(..) => cast(column, &DataType::Int64)?,
        _ => return Ok(None),
    };
    let is_day = *column.data_type() == DataType::Date32;
    let most = if is_day { i64::from(i32::MAX) } else { i64::MAX };
    let numbers = numbers.as_primitive::<Int64Type>();
    if !numbers
        .iter()
        .flatten()
        .any(|number| number == most || number == -most)
    {
        return Ok(None);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let texts: Result<Vec<Option<String>>, ArrowError> = numbers
        .iter()
        .enumerate()
        .map(|(at, number)| {
            Ok(match number {
                None => None,
                Some(number) if number == most => Some("infinity".to_owned()),
                Some(number) if number == -most => Some("-infinity".to_owned()),
                Some(_) => Some(formatter.value(at).try_to_string()? + if is_day { "" } else { end }),
            })
        })
        .collect();
    Ok(Some(Arc::new(StringArray::from(texts?))))
}

/// The columns as a format has them: what it cannot hold is text (in JSON decimals too), and where names are keys, each is there once (`n`, `n_2`).
fn written(format: Format, schema: &Schema) -> Schema {
    let mut taken = BTreeSet::new();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let kind = field.data_type();
            let exact = if format == Format::Json {
                exact(kind)
            } else {
                kind.clone()
            };
            let kind = if format.holds(kind) && can_cast_types(kind, &exact) {
                exact
            } else {
                DataType::Utf8
            };
            let mut name = field.name().clone();
            if matches!(format, Format::Json | Format::Parquet) {
                for number in 2.. {
                    if taken.insert(name.clone()) {
                        break;
                    }
                    name = format!("{}_{number}", field.name());
                }
            }
            Field::new(name, kind, true)
        })
        .collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}
