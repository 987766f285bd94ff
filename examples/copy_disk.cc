// The transfer engine as a library: copies a file into a sparse file, resumable and verified.
//   copy_disk SOURCE TARGET JOURNAL
#include <sys/stat.h>

#include <cstdio>
#include <string>

#include "common/endpoint.h"
#include "transfer/copy.h"
#include "transfer/open_source.h"
#include "transfer/resume.h"

using namespace vmferry;

namespace {

Result<CopyResult> copy(const std::string& from, const std::string& to,
                        const std::string& journal) {
  DiskEndpoint endpoint;  // any kind of source may stand here: NBD, HTTPS ranges, imageio, ...
  endpoint.kind = SourceKind::File;
  endpoint.url = "file://" + from;  // an absolute path
  SourceEnvironment environment;
  environment.fingerprint = true;  // a changed source is noticed, whatever its kind
  const std::unique_ptr<DiskSource> source = TRY(open_source(endpoint, environment, {}));

  // Sink and journal are opened together: what an interrupted copy made durable is kept, if
  // source and target are still the same ones.
  const JournalIdentity identity{.job = "copy_disk",
                                 .size_bytes = source->size_bytes(),
                                 .hash = "xxh3-128",
                                 .source = source->identity(),
                                 .target = {}};
  const TargetOpen target = TRY(open_target({.path = to, .size_bytes = source->size_bytes()},
                                            identity, journal, std::nullopt, {}));
  if (target.started_over) std::fprintf(stderr, "starting over: %s\n", target.reason.c_str());

  CopyMonitor monitor;  // another thread may call monitor.snapshot() for progress
  const SystemClock clock;
  return copy_disk(*source, *target.sink, target.journal.get(), /*throttle=*/nullptr,
                   CopyOptions{.verify = VerifyMode::ReadBack}, monitor, clock,
                   make_stderr_logger("copy_disk"), /*stop=*/{});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s SOURCE TARGET JOURNAL\n", argv[0]);
    return 2;
  }
  const Result<CopyResult> result = copy(argv[1], argv[2], argv[3]);
  if (!result) {
    std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
    return 1;
  }
  std::printf("%s, %.1f s, %s\n", result->digest.c_str(), result->seconds,
              result->verified ? "verified" : "not verified");
  return 0;
}
