package database

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"gorm.io/gorm/schema"
)

// Table reads and writes sets of rows of a table whose columns are listed once, in the
// GORM model R. A set is sent as one array per column, so sets of all sizes use the same
// statement text and the same cached plan.
//
// It follows GORM's tags: rows are matched by the primary key, `->` marks a column as
// read-only, and `<-:create` marks a column that updates do not change.
type Table[R schema.Tabler] struct {
	name       string
	columns    []column
	selectFrom string   // selects the columns
	inserted   []column // columns that Insert writes
	updated    []column // the primary key, then the columns that Update writes
	keys       int      // columns in the primary key
}

type column struct {
	name, kind string // kind is the PostgreSQL type
	index      []int  // of the field in R
	array      func(rows reflect.Value, index []int) any
}

// Set assigns an SQL expression to a column that is read-only in the model.
type Set struct{ Column, Expression string }

// kinds are the types of a model's fields, as columns without name. A pointer is a nullable
// column. The arrays are of types that pgx encodes without reflection or text.
var kinds = map[reflect.Type]column{
	reflect.TypeFor[uuid.UUID]():  {kind: "uuid", array: array(func(id *uuid.UUID) uuid.UUID { return *id })},
	reflect.TypeFor[int64]():      {kind: "bigint", array: array(func(n *int64) int64 { return *n })},
	reflect.TypeFor[string]():     {kind: "text", array: array(func(s *string) string { return *s })},
	reflect.TypeFor[time.Time]():  {kind: "timestamptz", array: array(func(at *time.Time) time.Time { return *at })},
	reflect.TypeFor[*uuid.UUID](): {kind: "uuid", array: nullable(func(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} })},
	reflect.TypeFor[*int64]():     {kind: "bigint", array: nullable(func(n int64) pgtype.Int8 { return pgtype.Int8{Int64: n, Valid: true} })},
	reflect.TypeFor[*string]():    {kind: "text", array: nullable(func(s string) pgtype.Text { return pgtype.Text{String: s, Valid: true} })},
	reflect.TypeFor[*time.Time](): {kind: "timestamptz", array: nullable(func(at time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: at, Valid: true} })},
}

// array returns a function that returns the values of one field of rows, which has type T.
func array[T, V any](value func(*T) V) func(reflect.Value, []int) any {
	return func(rows reflect.Value, index []int) any {
		values := make(pgtype.FlatArray[V], rows.Len())
		for i := range values {
			values[i] = value(rows.Index(i).FieldByIndex(index).Addr().Interface().(*T))
		}
		return values
	}
}

// nullable is [array] for a nullable field. It returns nil if all values are NULL: unnest
// fills a column that is shorter than the others with NULL.
func nullable[T, V any](value func(T) V) func(reflect.Value, []int) any {
	return func(rows reflect.Value, index []int) any {
		var values pgtype.FlatArray[V]
		for i := range rows.Len() {
			if p := *rows.Index(i).FieldByIndex(index).Addr().Interface().(**T); p != nil {
				if values == nil {
					values = make(pgtype.FlatArray[V], rows.Len())
				}
				values[i] = value(*p)
			}
		}
		if values == nil {
			return nil
		}
		return values
	}
}

// NewTable returns the table of R. It panics if a field of R has a type that it does not
// support. Every test of the table detects that.
func NewTable[R schema.Tabler]() *Table[R] {
	var row R
	model, err := schema.Parse(row, &sync.Map{}, schema.NamingStrategy{})
	if err != nil {
		panic(fmt.Errorf("model of %s: %w", row.TableName(), err))
	}
	t := &Table[R]{name: row.TableName()}
	var assigned []column
	for _, f := range model.Fields {
		c, ok := kinds[f.FieldType]
		if !ok {
			panic(fmt.Errorf("model of %s: unsupported type %s of %s", t.name, f.FieldType, f.Name))
		}
		c.name, c.index = f.DBName, f.StructField.Index
		t.columns = append(t.columns, c)
		if f.Creatable {
			t.inserted = append(t.inserted, c)
		}
		switch {
		case f.PrimaryKey:
			t.updated = append(t.updated, c)
			t.keys++
		case f.Updatable:
			assigned = append(assigned, c)
		}
	}
	t.updated = append(t.updated, assigned...)
	t.selectFrom = "SELECT " + names(t.columns, "") + " FROM " + t.name + " "
	return t
}

// Statement writes a set of rows.
type Statement[R any] struct {
	SQL     string
	columns []column // its parameters, one array each
}

// Insert returns the statement that inserts a set. The table has the alias t, for a
// RETURNING clause.
func (t *Table[R]) Insert(sets ...Set) Statement[R] {
	columns, values := names(t.inserted, ""), names(t.inserted, "n.")
	for _, s := range sets {
		columns, values = columns+", "+s.Column, values+", "+s.Expression
	}
	return Statement[R]{"INSERT INTO " + t.name + " AS t (" + columns + ") SELECT " + values + " FROM " + unnest(t.inserted), t.inserted}
}

// Update returns the statement that updates a set. The table has the alias t, for a
// RETURNING clause.
func (t *Table[R]) Update(sets ...Set) Statement[R] {
	var assignments, matches []string
	for i, c := range t.updated {
		if i < t.keys {
			matches = append(matches, "t."+c.name+" = n."+c.name)
		} else {
			assignments = append(assignments, c.name+" = n."+c.name)
		}
	}
	for _, s := range sets {
		assignments = append(assignments, s.Column+" = "+s.Expression)
	}
	return Statement[R]{"UPDATE " + t.name + " AS t SET " + strings.Join(assignments, ", ") +
		" FROM " + unnest(t.updated) + " WHERE " + strings.Join(matches, " AND "), t.updated}
}

// Args returns the arguments of the statement for a set of rows.
func (s Statement[R]) Args(rows []R) []any {
	args, values := make([]any, len(s.columns)), reflect.ValueOf(rows)
	for i, c := range s.columns {
		args[i] = c.array(values, c.index)
	}
	return args
}

// Write queues s with the rows of items. It does nothing for an empty set.
func Write[T, R any](tx *Tx, what string, s Statement[R], row func(T) R, items []T) {
	if len(items) == 0 {
		return
	}
	rows := make([]R, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	tx.Queue(what, s.SQL, s.Args(rows)...)
}

// Query reads the rows that where selects: a WHERE clause and any clauses after it. It stops
// at the first error.
func (t *Table[R]) Query(ctx context.Context, db *DB, where string, args ...any) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var row R
		into := t.fields(&row)
		rows, _ := db.Query(ctx, t.selectFrom+where, args...) // Err returns the error
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				break // Err returns it
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(row, err)
		}
	}
}

// Select returns the query of the rows that where selects, as in [Table.Query].
func (t *Table[R]) Select(what string, each func(R), where string, args ...any) Selection {
	var row R
	return Select(what, t.fields(&row), func() { each(row) }, t.selectFrom+where, args...)
}

// fields returns pointers to the fields of row, in the order of the columns.
func (t *Table[R]) fields(row *R) []any {
	fields, into := reflect.ValueOf(row).Elem(), make([]any, len(t.columns))
	for i, c := range t.columns {
		into[i] = fields.FieldByIndex(c.index).Addr().Interface()
	}
	return into
}

// Selection is a query of a transaction. See [Tx.Read].
type Selection struct {
	sql  string
	args []any
	read func(pgx.BatchResults) error
}

// Select returns a query. Each row is scanned into the pointers, then each is called. An error
// is prefixed with what.
func Select(what string, into []any, each func(), sql string, args ...any) Selection {
	return Selection{sql, args, func(results pgx.BatchResults) error {
		rows, _ := results.Query() // ForEachRow returns the error
		if _, err := pgx.ForEachRow(rows, into, func() error { each(); return nil }); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}}
}

func names(columns []column, prefix string) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = prefix + c.name
	}
	return strings.Join(all, ", ")
}

// unnest returns a FROM item that turns one array parameter per column into rows, with the
// alias n.
func unnest(columns []column) string {
	params := make([]string, len(columns))
	for i, c := range columns {
		params[i] = "$" + strconv.Itoa(i+1) + "::" + c.kind + "[]"
	}
	return "unnest(" + strings.Join(params, ", ") + ") AS n (" + names(columns, "") + ")"
}

// Nullable returns nil for the zero value, which a column stores as NULL.
func Nullable[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Value is the inverse of [Nullable].
func Value[T any](p *T) T {
	var v T
	if p != nil {
		v = *p
	}
	return v
}
