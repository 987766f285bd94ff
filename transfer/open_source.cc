#include "transfer/open_source.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/catalogue.h"
#include "transfer/sources/file.h"
#include "transfer/sources/fingerprint.h"
#include "transfer/sources/http.h"
#include "transfer/sources/imageio.h"
#include "transfer/sources/nbd.h"
#include "transfer/sources/nbdkit.h"
#include "transfer/sources/recheck.h"
#include "transfer/sources/vmdk.h"

namespace vmferry {
namespace {

template <typename T>
Result<std::unique_ptr<DiskSource>> as_source(Result<std::unique_ptr<T>> source) {
  if (!source) return std::move(source).error();
  return std::unique_ptr<DiskSource>(*std::move(source));
}

Result<std::unique_ptr<DiskSource>> open_kind(const DiskEndpoint& endpoint,
                                              const SourceEnvironment& environment,
                                              std::stop_token stop) {
  const Logger& log = environment.log;
  switch (endpoint.kind) {
    case SourceKind::HttpRange:
      return as_source(HttpSource::open(endpoint, environment.renew, {}, log, std::move(stop)));
    case SourceKind::Imageio:
      return as_source(ImageioSource::open(endpoint, environment.renew, {}, log, std::move(stop)));
    case SourceKind::Nbd:
      return as_source(
          open_nbd_source(endpoint, environment.scratch_directory, {}, log, std::move(stop)));
    case SourceKind::NbdkitVddk: {
      NbdkitOptions options;
      options.nbd.watchdog = options.nbd.connect_deadline = environment.nbdkit_silence;
      return open_nbdkit_source(endpoint, environment, options, std::move(stop));
    }
    case SourceKind::File:
      return as_source(FileSource::open(TRY(path_of_file_url(endpoint.url)), endpoint.identity));
    case SourceKind::VmdkStream:
      return as_source(VmdkStreamSource::open(endpoint, {}, log, std::move(stop)));
  }
  return make_error(ErrorKind::Internal, "unknown kind of source");
}

// An NBD server tells the size of its disk and nothing about its content, whatever it is called.
// Other sources have a provider who knows their state, or must tell a time of change: a web server
// and a block device may not, a ticket, a lease and VDDK never do.
bool tells_no_content(const DiskEndpoint& endpoint, const DiskSource& source) {
  if (endpoint.kind == SourceKind::Nbd) return true;
  if (!endpoint.identity.empty()) return false;
  return std::ranges::none_of(source.identity(), [](const auto& pair) {
    return pair.first.find("modified") != std::string::npos || pair.first.starts_with("etag");
  });
}

}  // namespace

Result<std::unique_ptr<DiskSource>> open_source(const DiskEndpoint& endpoint,
                                                const SourceEnvironment& environment,
                                                std::stop_token stop) {
  std::unique_ptr<DiskSource> source = TRY(open_kind(endpoint, environment, stop));
  if (endpoint.size_bytes != 0 && source->size_bytes() != endpoint.size_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the source disk has {} bytes, expected were {}", source->size_bytes(),
                       endpoint.size_bytes);
  }
  if (!tells_no_content(endpoint, *source)) return source;
  // Samples cannot be read ahead of a stream.
  if (source->hints().sequential) return never_the_same(std::move(source));
  const bool over_nbd = endpoint.kind == SourceKind::Nbd || endpoint.kind == SourceKind::NbdkitVddk;
  const Doubt doubt = over_nbd ? Doubt::Reconnects : Doubt::AnyTrouble;
  if (environment.fingerprint) return with_fingerprint(std::move(source), doubt, std::move(stop));
  return with_recheck(std::move(source), doubt);
}

}  // namespace vmferry
