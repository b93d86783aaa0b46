package database_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
)

// part has a field of each supported type and tag. Their order differs from the table's.
type part struct {
	ID        uuid.UUID `gorm:"primaryKey"`
	Name      string
	Note      *string
	Version   int64     `gorm:"->"`
	CreatedAt time.Time `gorm:"<-:create"`
	Weight    *int64
	ParentID  *uuid.UUID
	SoldAt    *time.Time
	Kind      string `gorm:"primaryKey"`
}

func (part) TableName() string { return "orders.parts" }

const createParts = `-- +goose Up
CREATE TABLE orders.parts (
	kind text, id uuid, name text NOT NULL, note text, weight bigint, parent_id uuid, created_at timestamptz NOT NULL,
	sold_at timestamptz, version bigint NOT NULL DEFAULT 1, PRIMARY KEY (id, kind)
);
GRANT SELECT, INSERT, UPDATE ON orders.parts TO orders;`

func TestTableStatements(t *testing.T) {
	t.Parallel()
	parts := database.NewTable[part]()
	const (
		insertRows = " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::uuid[], $7::timestamptz[], $8::text[])" +
			" AS n (id, name, note, created_at, weight, parent_id, sold_at, kind)"
		updateRows = " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::timestamptz[])" +
			" AS n (id, kind, name, note, weight, parent_id, sold_at) WHERE t.id = n.id AND t.kind = n.kind"
		assignments = "name = n.name, note = n.note, weight = n.weight, parent_id = n.parent_id, sold_at = n.sold_at"
	)
	require.Equal(t, "INSERT INTO orders.parts AS t (id, name, note, created_at, weight, parent_id, sold_at, kind)"+
		" SELECT n.id, n.name, n.note, n.created_at, n.weight, n.parent_id, n.sold_at, n.kind"+insertRows, parts.Insert().SQL)
	require.Equal(t, "INSERT INTO orders.parts AS t (id, name, note, created_at, weight, parent_id, sold_at, kind, version)"+
		" SELECT n.id, n.name, n.note, n.created_at, n.weight, n.parent_id, n.sold_at, n.kind, 7"+insertRows,
		parts.Insert(database.Set{Column: "version", Expression: "7"}).SQL)
	require.Equal(t, "UPDATE orders.parts AS t SET "+assignments+updateRows, parts.Update().SQL)
	require.Equal(t, "UPDATE orders.parts AS t SET "+assignments+", version = t.version + 1"+updateRows,
		parts.Update(database.Set{Column: "version", Expression: "t.version + 1"}).SQL)
}

func readParts(t *testing.T, db *database.DB, where string, args ...any) []part {
	t.Helper()
	var rows []part
	for row, err := range database.NewTable[part]().Query(t.Context(), db, where, args...) {
		require.NoError(t, err)
		row.CreatedAt = row.CreatedAt.UTC()
		if row.SoldAt != nil {
			row.SoldAt = new(row.SoldAt.UTC())
		}
		rows = append(rows, row)
	}
	return rows
}

func TestTableWritesAndReadsRows(t *testing.T) {
	t.Parallel()
	_, db := databasetest.New(t).Open(t, schema, files(map[string]string{"00001_parts.sql": createParts}))
	exec := func(statement database.Statement[part], rows []part) {
		t.Helper()
		_, err := db.Exec(t.Context(), statement.SQL, statement.Args(rows)...)
		require.NoError(t, err)
	}
	parts, now := database.NewTable[part](), time.Now().UTC().Truncate(time.Microsecond)
	names := []string{"", "Ünïcödé 東京 🛒", `{"quotes", 'and', \braces\}, NULL`, "NULL", "line\nbreak\t"}
	var want []part
	for i := range 5000 {
		p := part{ID: uuid.Must(uuid.NewV7()), Kind: "a", Name: names[i%len(names)], CreatedAt: now.Add(time.Duration(i) * time.Microsecond)}
		if i%2 == 0 {
			p.Note, p.Weight, p.ParentID, p.SoldAt = new(names[i%len(names)]), new(int64(-i)), new(uuid.New()), new(now)
		}
		want = append(want, p)
	}
	require.Empty(t, readParts(t, db, "ORDER BY id"))
	exec(parts.Insert(), nil)
	require.Empty(t, readParts(t, db, "ORDER BY id"))

	exec(parts.Insert(), want)
	for i := range want {
		want[i].Version = 1 // the default of the column
	}
	require.Equal(t, want, readParts(t, db, "ORDER BY id"))
	require.Equal(t, want[7:8], readParts(t, db, "WHERE id = $1 AND kind = $2 FOR UPDATE", want[7].ID, "a"))

	other := want[0] // differs from the first row in one column of the primary key
	other.Kind = "b"
	exec(parts.Insert(database.Set{Column: "version", Expression: "9"}), []part{other})
	changed := want[:2]
	for i := range changed {
		changed[i].Name, changed[i].Version, changed[i].CreatedAt = "changed", 99, now.Add(time.Hour)
		changed[i].Note, changed[i].SoldAt = changed[1-i].Note, nil
	}
	exec(parts.Update(database.Set{Column: "version", Expression: "t.version + 1"}), changed)
	for i := range changed { // Update writes neither of these columns
		changed[i].Version, changed[i].CreatedAt = 2, now.Add(time.Duration(i)*time.Microsecond)
	}
	other.Version = 9
	require.Equal(t, append(want, other), readParts(t, db, "ORDER BY kind, id"))
}

func TestTableQueryStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	_, db := databasetest.New(t).Open(t, schema, files(map[string]string{"00001_parts.sql": createParts}))
	parts := database.NewTable[part]()
	rows := []part{{ID: uuid.New(), Name: "a"}, {ID: uuid.New(), Name: "b"}}
	_, err := db.Exec(t.Context(), parts.Insert().SQL, parts.Insert().Args(rows)...)
	require.NoError(t, err)
	for where, want := range map[string][]string{
		"ORDER BY nothing": {"error"}, // before the first row
		"WHERE 1 / (CASE name WHEN 'b' THEN 0 ELSE 1 END) = 1": {"a", "error"},
	} {
		var got []string
		for row, err := range parts.Query(t.Context(), db, where) {
			if err != nil {
				got = append(got, "error")
			} else {
				got = append(got, row.Name)
			}
		}
		require.Equal(t, want, got, where)
	}
}

type unsupported struct {
	ID    uuid.UUID
	Price float64
}

func (unsupported) TableName() string { return "orders.unsupported" }

func TestNewTablePanicsOnUnsupportedType(t *testing.T) {
	t.Parallel()
	require.PanicsWithError(t, "model of orders.unsupported: unsupported type float64 of Price", func() { database.NewTable[unsupported]() })
}
