# The first sector of a disk: from real mode to 64 bits with every register of the processor on, then the program on
# the sectors that follow, put at 1 MB. SECTORS: how many. SAVED: which registers the system is to save (XCR0).
.code16
.global _start
_start:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %ss
  movw $0x7000, %sp
  inb $0x92, %al
  orb $2, %al
  outb %al, $0x92
# Offsets of 32 bits through %fs, while the BIOS still reads the disk.
  lgdt table
  movl %cr0, %eax
  orb $1, %al
  movl %eax, %cr0
  movw $16, %bx
  movw %bx, %fs
  andb $0xFE, %al
  movl %eax, %cr0
  xorw %bx, %bx
  movw %bx, %fs
# 64 sectors at a time to 0x30000, then to their place.
  movl $0x100000, %edi
1: movb $0x80, %dl
  movb $0x42, %ah
  movw $packet, %si
  int $0x13
  jc stop
  movl $0x30000, %esi
  movl $8192, %ecx
2: addr32 movl %fs:(%esi), %eax
  addr32 movl %eax, %fs:(%edi)
  addl $4, %esi
  addl $4, %edi
  decl %ecx
  jnz 2b
  addl $64, packet + 8
  cmpl $SECTORS, packet + 8
  jbe 1b
# One page directory maps the first gigabyte to itself.
  movw $0x1000, %ax
  movw %ax, %es
  xorw %di, %di
  xorw %ax, %ax
  movw $0x3000, %cx
  cld
  rep stosb
  movl $0x11003, %es:0
  movl $0x12003, %es:0x1000
  movl $0x83, %eax
  movw $0x2000, %di
  movw $512, %cx
3: movl %eax, %es:(%di)
  addl $0x200000, %eax
  addw $8, %di
  loop 3b
  movl $0x10000, %eax
  movl %eax, %cr3
  movl $1, %eax
  cpuid
  movl %ecx, %ebp
  movl $0x620, %eax         # PAE, OSFXSR, OSXMMEXCPT
  testl $0x4000000, %ebp
  jz 4f
  orl $0x40000, %eax        # OSXSAVE, where there is XSAVE
4: movl %eax, %cr4
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x100, %eax          # long mode
  wrmsr
  movl %cr0, %eax
  andl $0x9FFFFFFB, %eax
  orl $0x80000003, %eax
  movl %eax, %cr0
  ljmp $8, $long
stop: hlt
.code64
long:
  movw $16, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  testl $0x4000000, %ebp
  jz 5f
  movl $0xD, %eax
  xorl %ecx, %ecx
  cpuid
  andl $SAVED, %eax
  xorl %ecx, %ecx
  xorl %edx, %edx
  xsetbv
5: movq $0x8000000, %rsp
  movq $0x100000, %rax
  call *%rax
  hlt
.balign 8
entries: .quad 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF
table: .word 23
  .long entries
packet: .word 16, 64, 0, 0x3000
  .long 1, 0
.org 510
  .word 0xAA55
