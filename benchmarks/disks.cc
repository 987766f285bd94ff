// Copies one source into many files at the same time, as an agent with as many active disks does,
// and tells how much memory that took.
//   vmferry_disks SOURCE CA-FILE TARGET...      SOURCE: nbd..://, or https:// with a CA in PEM
#include <sys/resource.h>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "common/bytes.h"
#include "common/endpoint.h"
#include "common/fd.h"
#include "transfer/copy.h"
#include "transfer/open_sink.h"
#include "transfer/open_source.h"

using namespace vmferry;

namespace {

Result<void> copy(const DiskEndpoint& endpoint, const std::string& target) {
  const std::unique_ptr<DiskSource> source = TRY(open_source(endpoint, SourceEnvironment{}, {}));
  const std::unique_ptr<DiskSink> sink =
      TRY(open_sink({.path = target, .size_bytes = source->size_bytes()}));
  CopyMonitor monitor;
  const SystemClock clock;
  TRY(copy_disk(*source, *sink, /*journal=*/nullptr, /*throttle=*/nullptr, CopyOptions{}, monitor,
                clock, make_stderr_logger("disks"), /*stop=*/{}));
  return {};
}

Result<DiskEndpoint> endpoint_of(const std::string& url, const std::string& ca_file) {
  DiskEndpoint endpoint;
  endpoint.kind = url.starts_with("https://") ? SourceKind::HttpRange : SourceKind::Nbd;
  endpoint.url = url;
  if (!ca_file.empty()) endpoint.trust.ca_pem = TRY(read_file(ca_file, kMiB));
  return endpoint;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s SOURCE CA-FILE TARGET...\n", argv[0]);
    return 2;
  }
  const Result<DiskEndpoint> endpoint = endpoint_of(argv[1], argv[2]);
  if (!endpoint) {
    std::fprintf(stderr, "%s\n", to_string(endpoint.error()).c_str());
    return 1;
  }
  std::vector<int> failed(static_cast<std::size_t>(argc), 0);
  {
    std::vector<std::jthread> disks;
    for (int i = 3; i < argc; ++i) {
      disks.emplace_back([&, i] {
        const Result<void> copied = copy(*endpoint, argv[i]);
        if (copied) return;
        failed[static_cast<std::size_t>(i)] = 1;
        std::fprintf(stderr, "%s: %s\n", argv[i], to_string(copied.error()).c_str());
      });
    }
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"disks\":%d,\"peak_rss_mib\":%ld}\n", argc - 3, usage.ru_maxrss / 1024);
  for (const int one : failed) {
    if (one != 0) return 1;
  }
  return 0;
}
