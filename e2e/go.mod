module gozon/e2e

go 1.26

replace gozon/shared => ../shared
