module platter

go 1.26
