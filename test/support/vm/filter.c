/* filter CALL:ARGUMENT:VALUE:ERRNO ... -- COMMAND: runs a command whose system call CALL answers ERRNO where its
   argument with that index is VALUE (with an index of -1: always), as seccomp(2) filters of containers do. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LOAD(what) (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, what)
#define UNLESS(value, skip) (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define ANSWER(what) (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what)

int main(int argc, char **argv) {
  struct sock_filter code[128];
  unsigned short n = 0;
  int i = 1;
  for (; i < argc && strcmp(argv[i], "--"); i++) {
    unsigned call, value, answer;
    int argument;
    if (n > 120 || sscanf(argv[i], "%u:%d:%u:%u", &call, &argument, &value, &answer) != 4) return 2;
    code[n++] = LOAD(offsetof(struct seccomp_data, nr));
    code[n++] = UNLESS(call, argument < 0 ? 1 : 3);
    if (argument >= 0) {
      code[n++] = LOAD(offsetof(struct seccomp_data, args) + 8 * (unsigned)argument);
      code[n++] = UNLESS(value, 1);
    }
    code[n++] = ANSWER(SECCOMP_RET_ERRNO | answer);
  }
  code[n++] = ANSWER(SECCOMP_RET_ALLOW);
  struct sock_fprog program = {n, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 3;
  execvp(argv[i + 1], argv + i + 1);
  return 4;
}
