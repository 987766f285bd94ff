/* A stand-in for VMware's libvixDiskLib, for nbdkit's vddk plugin in tests. It serves the files of a directory as if they
 * were disks on an ESXi host, and is as strict as the real library about who asks for what.
 *
 * The real library gets the directory it was installed in; this one reads DIRECTORY/stand-in.conf there, lines KEY=VALUE:
 *
 *   root=PATH          the datastore: "[name] vm/disk.vmdk" is vm/disk-flat.vmdk in it, or, for a snapshot's delta,
 *                      vm/disk-delta.vmdk, which holds the whole disk as the guest sees it
 *   user= password= thumbprint= vm= snapshot= server=   what the caller must say; absent: anything
 *   transports=LIST    what it must offer
 *   log=PATH           a line a call is appended; never a secret
 *   delay_us=N         sleeps so long in each read
 *   connect_delay_us=N  and in each connecting
 *   lose_session_after=N   after so many reads of a handle every call on it fails until the disk is opened anew
 *   largest_read=N     longer reads fail as a host does that is out of memory for them
 *   hang_after=N       after so many reads of a handle the next one never comes back, and nothing but SIGKILL ends it
 *   hang_open=1        no disk is ever opened, in the same way
 *   hang_once=PATH     both only while there is no such file, which the first that hangs makes
 *   extents=off        the disk does not tell what is allocated
 *
 * Only what nbdkit's plugin calls is here; nothing writes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vddk-structs.h"

#define EXPORT __attribute__((visibility("default")))

enum {
  FILE_NOT_FOUND = 4,
  INVALID_ARGUMENT = 3,
  ACCESS_DENIED = 13,
  SESSION_LOST = 14010,
  LOGIN_REFUSED = 14009,
  CANNOT_CONNECT = 18000,
};

static struct {
  char *root, *user, *password, *thumbprint, *vm, *snapshot, *server, *transports, *log, *extents, *hang_once;
  unsigned long delay_us, connect_delay_us, lose_session_after, largest_read, hang_after, hang_open;
} settings;
static VixDiskLibGenericLogFunc *warn_with;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct connection {
  char snapshot[64];
};

struct disk {
  int file;
  uint64_t sectors;
  unsigned long reads;
};

static void record(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void record(const char *format, ...) {
  char line[2048];
  va_list arguments;
  int file;
  if (settings.log == NULL) return;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  if ((size_t)length > sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  file = open(settings.log, O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (file < 0) return;
  if (write(file, line, (size_t)length) != length) perror("stand-in log");
  close(file);
}

/* What the library would print; nbdkit passes it on to its stderr. */
static void warn(const char *format, ...) {
  va_list arguments;
  if (warn_with == NULL) return;
  va_start(arguments, format);
  warn_with(format, arguments);
  va_end(arguments);
}

/* As when the host is gone and the library waits for it with its locks held. */
static void hang(const char *where) {
  if (settings.hang_once != NULL) {
    const int file = open(settings.hang_once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return;
    close(file);
  }
  record("hang in %s", where);
  for (;;) pause();
}

static void set(char *line) {
  char *value = strchr(line, '=');
  if (value == NULL || *line == '#') return;
  *value++ = '\0';
  const struct {
    const char *name;
    char **text;
  } texts[] = {{"root", &settings.root},         {"user", &settings.user},
               {"password", &settings.password}, {"thumbprint", &settings.thumbprint},
               {"vm", &settings.vm},             {"snapshot", &settings.snapshot},
               {"server", &settings.server},     {"transports", &settings.transports},
               {"log", &settings.log},           {"extents", &settings.extents},
               {"hang_once", &settings.hang_once}};
  const struct {
    const char *name;
    unsigned long *number;
  } numbers[] = {{"delay_us", &settings.delay_us},
                 {"connect_delay_us", &settings.connect_delay_us},
                 {"lose_session_after", &settings.lose_session_after},
                 {"largest_read", &settings.largest_read},
                 {"hang_after", &settings.hang_after},
                 {"hang_open", &settings.hang_open}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
    if (strcmp(line, texts[i].name) == 0) *texts[i].text = strdup(value);
  }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; ++i) {
    if (strcmp(line, numbers[i].name) == 0) *numbers[i].number = strtoul(value, NULL, 10);
  }
}

EXPORT VixError VixDiskLib_InitEx(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                  VixDiskLibGenericLogFunc *warning, VixDiskLibGenericLogFunc *panic,
                                  const char *directory, const char *config) {
  char path[4096], line[4096];
  FILE *file;
  if (directory == NULL) return INVALID_ARGUMENT;
  warn_with = warning;
  snprintf(path, sizeof path, "%s/stand-in.conf", directory);
  file = fopen(path, "re");
  if (file == NULL) return config == NULL ? VIX_OK : VIX_E_FAIL; /* --dump-plugin needs none */
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    set(line);
  }
  fclose(file);
  record("init %u.%u config=%s", major, minor, config == NULL ? "none" : config);
  if (config == NULL) return VIX_OK;
  file = fopen(config, "re");
  if (file == NULL) return FILE_NOT_FOUND;
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    record("config %s", line);
  }
  fclose(file);
  return VIX_OK;
}

EXPORT void VixDiskLib_Exit(void) { record("exit"); }

EXPORT const char *VixDiskLib_ListTransportModes(void) { return "file:san:hotadd:nbdssl:nbd"; }

EXPORT char *VixDiskLib_GetErrorText(VixError error, const char *unused) {
  switch (error) {
    case VIX_E_FAIL:
      return strdup("Unknown error");
    case VIX_E_NOT_SUPPORTED:
      return strdup("The operation is not supported");
    case FILE_NOT_FOUND:
      return strdup("A file was not found");
    case ACCESS_DENIED:
      return strdup("You do not have access rights to this file");
    case LOGIN_REFUSED:
      return strdup("Cannot complete login due to an incorrect user name or password");
    case CANNOT_CONNECT:
      return strdup("Cannot connect to host");
    case SESSION_LOST:
      return strdup("The session has ended");
    default:
      return strdup("Error of the stand-in");
  }
}
EXPORT void VixDiskLib_FreeErrorText(char *text) { free(text); }

EXPORT VixDiskLibConnectParams *VixDiskLib_AllocateConnectParams(void) {
  return calloc(1, sizeof(VixDiskLibConnectParams));
}
EXPORT void VixDiskLib_FreeConnectParams(VixDiskLibConnectParams *parameters) { free(parameters); }

static bool is_wanted(const char *wanted, const char *given) {
  return wanted == NULL || (given != NULL && strcasecmp(wanted, given) == 0);
}
static const char *shown(const char *text) { return text == NULL ? "-" : text; }

EXPORT VixError VixDiskLib_ConnectEx(const VixDiskLibConnectParams *parameters, char read_only,
                                     const char *snapshot, const char *transports,
                                     VixDiskLibConnection *result) {
  const bool by_name = parameters->credType == VIXDISKLIB_CRED_UID;
  const char *user = by_name ? parameters->creds.uid.userName : NULL;
  const char *password = by_name ? parameters->creds.uid.password : NULL;
  struct connection *made;
  record("connect server=%s user=%s thumbprint=%s vm=%s snapshot=%s transports=%s read-only=%d",
         shown(parameters->serverName), shown(user), shown(parameters->thumbPrint), shown(parameters->vmxSpec),
         shown(snapshot), shown(transports), read_only);
  if (settings.connect_delay_us != 0) usleep((useconds_t)settings.connect_delay_us);
  if (!is_wanted(settings.server, parameters->serverName)) return CANNOT_CONNECT;
  /* The certificate comes before the login: a wrong server is told no password. */
  if (!is_wanted(settings.thumbprint, parameters->thumbPrint)) {
    warn("SSL: the peer's thumbprint does not match the one that was given\n");
    return VIX_E_FAIL;
  }
  if (!is_wanted(settings.user, user) ||
      (settings.password != NULL && (password == NULL || strcmp(settings.password, password) != 0))) {
    return LOGIN_REFUSED;
  }
  if (settings.vm != NULL && (parameters->vmxSpec == NULL || strncmp(parameters->vmxSpec, "moref=", 6) != 0 ||
                              strcmp(parameters->vmxSpec + 6, settings.vm) != 0)) {
    return ACCESS_DENIED;
  }
  if (settings.snapshot != NULL && !is_wanted(settings.snapshot, snapshot)) return ACCESS_DENIED;
  if (settings.transports != NULL && !is_wanted(settings.transports, transports)) return VIX_E_NOT_SUPPORTED;
  made = calloc(1, sizeof *made);
  if (made == NULL) return VIX_E_FAIL;
  *result = made;
  return VIX_OK;
}

EXPORT VixError VixDiskLib_Disconnect(VixDiskLibConnection connection) {
  record("disconnect");
  free(connection);
  return VIX_OK;
}

EXPORT VixError VixDiskLib_Open(const VixDiskLibConnection connection, const char *path, uint32_t flags,
                                VixDiskLibHandle *result) {
  static const char *const endings[] = {"-flat.vmdk", "-delta.vmdk"};
  char name[4096];
  struct stat facts;
  struct disk *disk;
  const char *inside = strchr(path, ']');
  const size_t length = strlen(path);
  record("open %s flags=%u", path, flags);
  if (settings.hang_open != 0) hang("open");
  if (settings.root == NULL || *path != '[' || inside == NULL || strstr(path, "..") != NULL) return FILE_NOT_FOUND;
  if (length < 5 || strcmp(path + length - 5, ".vmdk") != 0) return FILE_NOT_FOUND;
  if ((flags & VIXDISKLIB_FLAG_OPEN_READ_ONLY) == 0) return ACCESS_DENIED;
  inside += strspn(inside, "] ");
  disk = calloc(1, sizeof *disk);
  if (disk == NULL) return VIX_E_FAIL;
  disk->file = -1;
  for (size_t i = 0; i < 2 && disk->file < 0; ++i) {
    snprintf(name, sizeof name, "%s/%.*s%s", settings.root, (int)(path + length - 5 - inside), inside, endings[i]);
    disk->file = open(name, O_RDONLY | O_CLOEXEC);
  }
  if (disk->file < 0 || fstat(disk->file, &facts) != 0) {
    free(disk);
    return FILE_NOT_FOUND;
  }
  disk->sectors = (uint64_t)facts.st_size / VIXDISKLIB_SECTOR_SIZE;
  *result = disk;
  return VIX_OK;
}

EXPORT VixError VixDiskLib_Close(VixDiskLibHandle handle) {
  struct disk *disk = handle;
  record("close after %lu reads", disk->reads);
  close(disk->file);
  free(disk);
  return VIX_OK;
}

EXPORT const char *VixDiskLib_GetTransportMode(VixDiskLibHandle handle) { return "nbdssl"; }

EXPORT VixError VixDiskLib_GetInfo(VixDiskLibHandle handle, VixDiskLibInfo **result) {
  const struct disk *disk = handle;
  VixDiskLibInfo *info = calloc(1, sizeof *info);
  if (info == NULL) return VIX_E_FAIL;
  info->capacity = disk->sectors;
  info->adapterType = VIXDISKLIB_ADAPTER_SCSI_LSILOGIC;
  info->logicalSectorSize = VIXDISKLIB_SECTOR_SIZE;
  info->physicalSectorSize = VIXDISKLIB_SECTOR_SIZE;
  *result = info;
  return VIX_OK;
}
EXPORT void VixDiskLib_FreeInfo(VixDiskLibInfo *info) { free(info); }

static bool session_is_lost(struct disk *disk) {
  bool lost;
  pthread_mutex_lock(&lock);
  lost = settings.lose_session_after != 0 && ++disk->reads > settings.lose_session_after;
  if (settings.lose_session_after == 0) ++disk->reads;
  pthread_mutex_unlock(&lock);
  return lost;
}

EXPORT VixError VixDiskLib_Read(VixDiskLibHandle handle, uint64_t sector, uint64_t count, unsigned char *into) {
  struct disk *disk = handle;
  uint64_t offset = sector * VIXDISKLIB_SECTOR_SIZE, left = count * VIXDISKLIB_SECTOR_SIZE;
  if (settings.delay_us != 0) usleep((useconds_t)settings.delay_us);
  if (settings.hang_after != 0 && disk->reads >= settings.hang_after) hang("read");
  if (session_is_lost(disk)) {
    record("read refused: session lost");
    return SESSION_LOST;
  }
  if (sector > disk->sectors || count > disk->sectors - sector) return INVALID_ARGUMENT;
  if (settings.largest_read != 0 && left > settings.largest_read) {
    record("read refused: %llu bytes", (unsigned long long)left);
    warn("NFC error 5: Failed to allocate the requested %llu bytes\n", (unsigned long long)left);
    return VIX_E_FAIL;
  }
  while (left > 0) {
    const ssize_t got = pread(disk->file, into, left, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return VIX_E_FAIL;
    into += got;
    offset += (uint64_t)got;
    left -= (uint64_t)got;
  }
  return VIX_OK;
}

EXPORT VixError VixDiskLib_ReadAsync(VixDiskLibHandle handle, uint64_t sector, uint64_t count, unsigned char *into,
                                     VixDiskLibCompletionCB done, void *data) {
  done(data, VixDiskLib_Read(handle, sector, count, into));
  return VIX_ASYNC;
}

EXPORT VixError VixDiskLib_Wait(VixDiskLibHandle handle) { return VIX_OK; }
EXPORT VixError VixDiskLib_Flush(VixDiskLibHandle handle) { return VIX_OK; }
EXPORT VixError VixDiskLib_Write(VixDiskLibHandle handle, uint64_t sector, uint64_t count, const unsigned char *from) {
  return VIX_E_NOT_SUPPORTED;
}
EXPORT VixError VixDiskLib_WriteAsync(VixDiskLibHandle handle, uint64_t sector, uint64_t count,
                                      const unsigned char *from, VixDiskLibCompletionCB done, void *data) {
  return VIX_E_NOT_SUPPORTED;
}
EXPORT VixError VixDiskLib_Create(const VixDiskLibConnection connection, const char *path,
                                  const VixDiskLibCreateParams *parameters, void *progress, void *data) {
  return VIX_E_NOT_SUPPORTED;
}

/* The chunks of [sector, sector + count) that hold data of the file, as the real library in ascending order. */
EXPORT VixError VixDiskLib_QueryAllocatedBlocks(VixDiskLibHandle handle, uint64_t sector, uint64_t count,
                                                uint64_t chunk, VixDiskLibBlockList **result) {
  const struct disk *disk = handle;
  const uint64_t end = sector + count;
  VixDiskLibBlockList *list;
  if (settings.extents != NULL && strcmp(settings.extents, "off") == 0) return VIX_E_NOT_SUPPORTED;
  if (chunk < VIXDISKLIB_MIN_CHUNK_SIZE || sector % chunk != 0 || count % chunk != 0 ||
      count / chunk > VIXDISKLIB_MAX_CHUNK_NUMBER || end > disk->sectors) {
    return INVALID_ARGUMENT;
  }
  list = calloc(1, sizeof *list + (size_t)(count / chunk) * sizeof *list->blocks);
  if (list == NULL) return VIX_E_FAIL;
  for (uint64_t at = sector; at < end;) {
    const off_t data = lseek(disk->file, (off_t)(at * VIXDISKLIB_SECTOR_SIZE), SEEK_DATA);
    if (data < 0 || (uint64_t)data >= end * VIXDISKLIB_SECTOR_SIZE) break;
    const uint64_t first = (uint64_t)data / VIXDISKLIB_SECTOR_SIZE / chunk * chunk;
    list->blocks[list->numBlocks].offset = first;
    list->blocks[list->numBlocks].length = chunk;
    if (list->numBlocks > 0) {
      VixDiskLibBlock *before = &list->blocks[list->numBlocks - 1];
      if (before->offset + before->length == first) {
        before->length += chunk;
        --list->numBlocks;
      }
    }
    ++list->numBlocks;
    at = first + chunk;
  }
  record("query-allocated start=%llu count=%llu chunk=%llu blocks=%u", (unsigned long long)sector,
         (unsigned long long)count, (unsigned long long)chunk, list->numBlocks);
  *result = list;
  return VIX_OK;
}
EXPORT VixError VixDiskLib_FreeBlockList(VixDiskLibBlockList *list) {
  free(list);
  return VIX_OK;
}
