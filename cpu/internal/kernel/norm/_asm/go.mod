module github.com/atelier-go/atelier/cpu/internal/kernel/norm/_asm

go 1.26.0
