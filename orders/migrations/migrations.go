// Package migrations contains the SQL that creates and changes the service's tables.
package migrations

import "embed"

// FS contains the migrations, ordered by file name.
//
//go:embed *.sql
var FS embed.FS
