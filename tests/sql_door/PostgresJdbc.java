import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** A session of PostgreSQL's JDBC driver as tools have it; ends with an exception where an answer is not as it should be. */
public class PostgresJdbc {
    static void equal(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError(found + " is not " + wanted);
        }
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> all = new ArrayList<>();
        while (rows.next()) {
            all.add(rows.getString(name));
        }
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            browse(connection.getMetaData());
            ask(connection);
            read(connection);
        }
    }

    static void browse(DatabaseMetaData about) throws SQLException {
        equal(about.getDatabaseProductName(), "PostgreSQL");
        equal(about.getDatabaseMajorVersion(), 15);
        equal(column(about.getCatalogs(), "TABLE_CAT"), List.of("podledger"));
        equal(column(about.getSchemas(), "TABLE_SCHEM").contains("marts"), true);
        List<String> tables = column(about.getTables(null, "marts", "%", new String[] {"TABLE"}), "TABLE_NAME");
        equal(tables.contains("pods") && tables.contains("costs_daily"), true);
        equal(column(about.getTables(null, null, "nothing%", null), "TABLE_NAME"), List.of());
        try (ResultSet columns = about.getColumns(null, "marts", "costs_daily", "cost")) {
            equal(columns.next(), true);
            equal(columns.getInt("DATA_TYPE"), java.sql.Types.NUMERIC);
            equal(columns.getInt("COLUMN_SIZE"), 18);
            equal(columns.getInt("DECIMAL_DIGITS"), 9);
            equal(columns.getString("REMARKS").isEmpty(), false);
        }
        equal(column(about.getPrimaryKeys(null, "marts", "pods"), "COLUMN_NAME"), List.of());
        equal(column(about.getImportedKeys(null, "marts", "pods"), "FKCOLUMN_NAME"), List.of());
        equal(column(about.getIndexInfo(null, "marts", "pods", false, true), "INDEX_NAME"), List.of());
        equal(column(about.getFunctions(null, "marts", "%"), "FUNCTION_NAME"), List.of());
        equal(column(about.getTypeInfo(), "TYPE_NAME").contains("numeric"), true);
        equal(column(about.getTableTypes(), "TABLE_TYPE").contains("TABLE"), true);
    }

    static void ask(Connection connection) throws SQLException {
        // From the sixth time on the driver has a statement on the server, and values in binary.
        String text = "select ?::boolean, ?::bigint + 1, ?, ?, ?::date, ?::timestamp, ?, 0.5::double, 1::integer, 2::smallint, timestamptz '2026-11-16 10:00:00+00'";
        try (PreparedStatement statement = connection.prepareStatement(text)) {
            for (int time = 0; time < 8; time++) {
                statement.setBoolean(1, true);
                statement.setLong(2, 41);
                statement.setBigDecimal(3, new BigDecimal("-12345.678900000"));
                statement.setString(4, "it's");
                statement.setDate(5, Date.valueOf("2026-11-16"));
                statement.setTimestamp(6, Timestamp.valueOf("2026-11-16 10:00:00.25"));
                statement.setNull(7, java.sql.Types.VARCHAR);
                try (ResultSet row = statement.executeQuery()) {
                    equal(row.next(), true);
                    equal(row.getBoolean(1), true);
                    equal(row.getLong(2), 42L);
                    equal(row.getBigDecimal(3).compareTo(new BigDecimal("-12345.6789")), 0);
                    equal(row.getString(4), "it's");
                    equal(row.getDate(5).toString(), "2026-11-16");
                    equal(row.getTimestamp(6), Timestamp.valueOf("2026-11-16 10:00:00.25"));
                    equal(row.getString(7), null);
                    equal(row.getDouble(8), 0.5);
                    equal(row.getInt(9), 1);
                    equal(row.getShort(10), (short) 2);
                    equal(row.getTimestamp(11).toInstant().toString(), "2026-11-16T10:00:00Z");
                    equal(row.next(), false);
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("select cost, charge_date from costs_daily where pipeline = ? and cost > ? limit ?")) {
            equal(statement.getParameterMetaData().getParameterCount(), 3);
            equal(statement.getMetaData().getColumnTypeName(1), "numeric");
            statement.setString(1, "nothing");
            statement.setBigDecimal(2, BigDecimal.ZERO);
            statement.setInt(3, 5);
            equal(statement.executeQuery().next(), false);
        }
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery("select nothing from pods");
            throw new AssertionError("it has no such column");
        } catch (SQLException error) {
            equal(error.getSQLState(), "42703");
        }
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7");
            throw new AssertionError("it was not cancelled");
        } catch (SQLException error) {
            equal(error.getSQLState(), "57014");
        }
        equal(connection.isValid(5), true);
    }

    static void read(Connection connection) throws SQLException {
        connection.setReadOnly(true);
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(50);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("select i from range(1000) as t(i)")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            equal(sum, 499500L);
            statement.setMaxRows(3);
            equal(column(statement.executeQuery("select i from range(1000) as t(i) order by 1"), "i"), List.of("0", "1", "2"));
        }
        connection.commit();
    }
}
