module gozon/e2e

go 1.26

require gozon/shared v0.0.0

replace gozon/shared => ../shared
