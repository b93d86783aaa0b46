// Package migrations holds the SQL that makes and changes the service's tables.
package migrations

import "embed"

// FS has the migrations in the order of their file names.
//
//go:embed *.sql
var FS embed.FS
