package databasetest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// privileges selects what the role $1 may do in the database, one line for each object. It
// includes what everybody may do, what the role owns, and its attributes and memberships, but
// not the system catalogs.
const privileges = `
WITH role AS (SELECT * FROM pg_roles WHERE rolname = $1),
schemas AS (SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
acls (object, col, acl) AS (
	SELECT 'database', NULL, coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
	UNION ALL SELECT 'schema ' || nspname, NULL, coalesce(nspacl, acldefault('n', nspowner)) FROM schemas
	UNION ALL SELECT nspname || '.' || relname, NULL, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
		FROM pg_class JOIN schemas ON schemas.oid = relnamespace WHERE relkind NOT IN ('i', 'I', 'c')
	UNION ALL SELECT nspname || '.' || relname, attname, attacl
		FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN schemas ON schemas.oid = relnamespace
	UNION ALL SELECT 'function ' || proname, NULL, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc JOIN schemas ON schemas.oid = pronamespace
),
granted AS (
	SELECT object, privilege_type || coalesce(' (' || string_agg(col, ', ' ORDER BY col) || ')', '') || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege
	FROM acls, aclexplode(acl), role WHERE grantee IN (role.oid, 0) GROUP BY object, privilege_type, is_grantable
	UNION ALL SELECT 'role', attribute FROM role, LATERAL (VALUES ('LOGIN', rolcanlogin), ('SUPERUSER', rolsuper), ('CREATEROLE', rolcreaterole),
		('CREATEDB', rolcreatedb), ('REPLICATION', rolreplication), ('BYPASSRLS', rolbypassrls)) AS a (attribute, has) WHERE has
	UNION ALL SELECT 'role', 'member of ' || roleid::regrole FROM pg_auth_members, role WHERE member = role.oid
)
SELECT object || ': ' || string_agg(privilege, ', ' ORDER BY privilege) FROM granted GROUP BY object ORDER BY object COLLATE "C"`

// Privileges returns what role may do, such as "orders.inbox: DELETE, INSERT, SELECT, UPDATE
// (message_id)", sorted.
func (d *Database) Privileges(t testing.TB, role string) (all []string) {
	t.Helper()
	rows, err := d.Admin(t).QueryContext(t.Context(), privileges, role)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		all = append(all, line)
	}
	require.NoError(t, rows.Err())
	return all
}
