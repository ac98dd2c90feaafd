
# expect: 1:1 CG001
# expect: 1:1 CG001
# expect: 1:1 CG001
# expect: 1:1 CG001
# expect: 1:1 CG004
# expect: 1:1 CG004
# expect: 1:1 CG004
