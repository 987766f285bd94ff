#include "transfer/copy.h"

#include <sys/resource.h>
#include <unistd.h>

#include <ostream>

#include "cli/commands.h"
#include "cli/copy_arguments.h"
#include "cli/copy_report.h"
#include "cli/limit_file.h"
#include "cli/server_child.h"
#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/fd.h"
#include "transfer/journal_file.h"
#include "transfer/open_source.h"
#include "transfer/resume.h"
#include "transfer/sources/private_directory.h"

namespace vmferry::cli {
namespace {

struct CopyFlags {
  std::vector<std::string> words;
  bool imageio = false, vmdk_stream = false, json = false;
  std::optional<bool> progress;  // nothing: where a person watches
  bool verify = true, verify_after = false, compare_source = false, start_over = false;
  std::string journal, limit = "0", limit_file, ca_file, thumbprint, hash = "xxh3-128";
  int workers = 0;
};

Result<TlsTrust> trust_of(const CopyFlags& flags) {
  TlsTrust trust;
  if (!flags.ca_file.empty()) {
    const std::string pem = TRY(read_file(flags.ca_file, kMiB));
    trust.ca_pem = TRY(parse_ca_certificates(pem));
  }
  if (!flags.thumbprint.empty()) trust.thumbprint = TRY(parse_thumbprint(flags.thumbprint));
  return trust;
}

// CPU time of this process and of the children that have ended, as `time` counts it.
double cpu_seconds() {
  double sum = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    ::getrusage(who, &usage);
    for (const timeval& part : {usage.ru_utime, usage.ru_stime}) {
      sum += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) / 1e6;
    }
  }
  return sum;
}

// One line that is rewritten on a terminal, a line every two seconds elsewhere; on stderr, so that
// --json stays one line.
void report_progress(Context& context, const CopyMonitor& monitor, std::stop_token ending) {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const std::chrono::milliseconds every(terminal ? 200 : 2000);
  CopyProgress last = monitor.snapshot();
  SteadyTime last_time = context.clock.steady();
  double rate = 0;
  while (context.clock.sleep(every, ending)) {
    const CopyProgress now = monitor.snapshot();
    const SteadyTime time = context.clock.steady();
    // Behind the copy the target is read back as well: one rate at a time.
    const auto done = [](const CopyProgress& p) {
      return p.phase == CopyPhase::Verifying ? p.verified_bytes : p.moved_bytes;
    };
    const std::uint64_t step = done(now) - std::min(done(now), done(last));
    const double latest = static_cast<double>(step) / Seconds(time - last_time).count();
    rate = rate > 0 ? 0.7 * rate + 0.3 * latest : latest;
    const std::string line = copy_progress_line(now, rate);
    context.err << (terminal ? "\r" + line + "\x1b[K" : line + "\n") << std::flush;
    last = now;
    last_time = time;
  }
  if (terminal) context.err << "\r\x1b[K" << std::flush;
}

// A container copied byte by byte is no error, and seldom what is wanted.
Result<void> note_container(Context& context, DiskSource& source, std::stop_token stop) {
  std::byte beginning[32];
  if (source.hints().sequential || source.size_bytes() < sizeof beginning) return {};
  TRY(source.read(0, beginning, std::move(stop)));
  if (const std::string_view format = container_format(beginning); !format.empty()) {
    context.err << "note: the source is a " << format
                << " image and is copied as such; [ qemu-nbd FILE ] serves the disk within\n";
  }
  return {};
}

Result<TargetOpen> open_end(Context& context, const CopyEnds& ends, const CopyFlags& flags,
                            const DiskSource& source, std::stop_token stop) {
  if (ends.null_target) {
    TargetOpen target;
    target.sink = make_null_sink(source.size_bytes());
    return target;
  }
  SinkOptions options;
  options.path = ends.target;
  options.size_bytes = source.size_bytes();
  if (flags.journal.empty()) {
    TargetOpen target;
    target.sink = TRY(open_sink(options));
    return target;
  }
  TRY(JournalFile::check_is_journal(flags.journal));
  JournalIdentity identity{.job = "vmferry copy",
                           .size_bytes = source.size_bytes(),
                           .hash = flags.hash,
                           .source = source.identity(),
                           .target = {}};
  Result<TargetOpen> target =
      open_target(options, std::move(identity), flags.journal, std::nullopt, {},
                  {flags.start_over ? ChangedSource::StartOver : ChangedSource::Refuse,
                   /*will_verify=*/flags.verify},
                  /*tell_all=*/nullptr, std::move(stop));
  if (!target && target.error().code() == code::kSourceChanged) {
    return std::move(target).error().with_context(fmt::format(
        "journal '{}' (--start-over drops what was copied, and begins anew)", flags.journal));
  }
  if (target && target->started_over) {
    context.err << "note: starting over: " << target->reason << '\n';
  }
  return target;
}

Result<CopyResult> copy_from(Context& context, const DiskEndpoint& endpoint, const CopyEnds& ends,
                             const CopyFlags& flags, std::uint64_t limit, CopyMonitor& monitor,
                             std::stop_token stop) {
  const auto scratch = TRY(PrivateDirectory::make(""));
  SourceEnvironment environment;
  environment.scratch_directory = scratch->path();
  environment.log = context.log;
  environment.fingerprint = !flags.journal.empty();
  const auto source = TRY(open_source(endpoint, environment, stop));
  TRY(note_container(context, *source, stop));
  TargetOpen target = TRY(open_end(context, ends, flags, *source, stop));

  CopyOptions options;
  options.workers = flags.workers;
  options.hash = flags.hash == "sha256" ? HashAlgorithm::Sha256 : HashAlgorithm::Xxh3_128;
  options.verify = !flags.verify || ends.null_target ? VerifyMode::None
                   : flags.verify_after              ? VerifyMode::ReadBackAfter
                                                     : VerifyMode::ReadBack;
  options.compare_source_digest = flags.compare_source;
  Throttle throttle(context.clock, limit);
  std::optional<LimitFile> limit_file;
  if (!flags.limit_file.empty()) limit_file.emplace(context, flags.limit_file, throttle);
  std::jthread reporter;
  if (flags.progress.value_or(::isatty(STDERR_FILENO) == 1)) {
    reporter =
        std::jthread([&](std::stop_token ending) { report_progress(context, monitor, ending); });
  }
  return copy_disk(*source, *target.sink, target.journal.get(), &throttle, options, monitor,
                   context.clock, context.log, stop);
}

Result<CopyResult> copy(Context& context, const CopyEnds& ends, const CopyFlags& flags,
                        CopyMonitor& monitor) {
  // All that was typed is looked at before the target is opened, which drops what it held.
  const std::uint64_t limit = flags.limit_file.empty()
                                  ? TRY(parse_size(flags.limit))
                                  : TRY(LimitFile::first(context, flags.limit_file));
  DiskEndpoint endpoint = ends.source;
  endpoint.trust = TRY(trust_of(flags));
  if (ends.command.empty()) {
    return copy_from(context, endpoint, ends, flags, limit, monitor, context.stop);
  }
  const std::unique_ptr<ServerChild> server = TRY(ServerChild::start(ends.command, context.stop));
  endpoint.url = server->url();
  // The socket's name is new each time; what the command serves is what must not change.
  std::string words;
  for (const std::string& word : ends.command) words += (words.empty() ? "" : " ") + word;
  endpoint.identity = {{"command", words}};
  Result<CopyResult> result = copy_from(context, endpoint, ends, flags, limit, monitor,
                                        server->stop_when_gone(context.stop));
  if (!result && !context.stop.stop_requested()) {
    if (std::optional<Error> gone = server->gone()) return *std::move(gone);
  }
  return result;
}

Result<int> run_copy(Context& context, CopyFlags flags) {
  const SourceKind web = flags.imageio       ? SourceKind::Imageio
                         : flags.vmdk_stream ? SourceKind::VmdkStream
                                             : SourceKind::HttpRange;
  const CopyEnds ends = TRY(parse_copy_ends(flags.words, web));
  if (flags.vmdk_stream && !flags.journal.empty()) {
    return Error(ErrorKind::InvalidArgument,
                 "--vmdk-stream reads from beginning to end once, so there is nothing to go on "
                 "from: leave out --journal");
  }
  TRY(check_ends_differ(ends, flags.journal));
  if (flags.compare_source) {
    if (!flags.imageio) {
      return Error(ErrorKind::InvalidArgument,
                   "--compare-source needs --imageio: no other server computes a digest");
    }
    flags.hash = "sha256";  // the one that it computes
  }
  CopyMonitor monitor;
  auto result = copy(context, ends, flags, monitor);  // the child has ended: its CPU time is known
  if (!result && flags.json) context.out << copy_error_json(result.error());
  if (!result && result.error().kind() == ErrorKind::Canceled) {
    context.err << copy_stopped_text(!flags.journal.empty(), monitor.snapshot());
    return kInterrupted;
  }
  if (!result) return std::move(result).error();
  context.out << (flags.json ? copy_json(*result, cpu_seconds())
                             : copy_text(*result, cpu_seconds()));
  if (flags.compare_source && !result->source_digest_matched) {
    return Error(ErrorKind::Unavailable, code::kSourceRead,
                 "the copy is complete, but the server gave no digest to compare it with: leave "
                 "out --compare-source if the comparison with what was received is enough");
  }
  return kOk;
}

}  // namespace

void add_copy(CLI::App& app, Context& context) {
  auto flags = std::make_shared<CopyFlags>();
  CLI::App* command = app.add_subcommand("copy", "Copy one disk: fast, verified, resumable");
  command
      ->add_option("SOURCE TARGET", flags->words,
                   "source: nbd://, nbds://, nbd+unix://, http(s)://, a file, or [ nbdkit ... ]; "
                   "target: a file, a block device, null:")
      ->required();
  CLI::Option* imageio =
      command->add_flag("--imageio", flags->imageio, "the source URL is an ovirt-imageio ticket");
  command
      ->add_flag(
          "--vmdk-stream", flags->vmdk_stream,
          "the source URL is a streamOptimized VMDK, as in an OVA or an export; not resumable")
      ->excludes(imageio);
  command->add_flag("--verify,!--no-verify", flags->verify,
                    "read the target back and compare, behind the copy (default, but for null:)");
  command->add_flag("--verify-after", flags->verify_after,
                    "read the target back when all is copied: for disks with moving heads");
  command
      ->add_option("--journal", flags->journal, "remember in FILE what is durable; go on from it")
      ->type_name("FILE");
  command->add_flag(
      "--start-over", flags->start_over,
      "begin anew when the source is not the one of the journal, instead of refusing");
  command->add_flag("--compare-source", flags->compare_source,
                    "with --imageio: compare with the digest that the server computes");
  CLI::Option* limit =
      command->add_option("--limit", flags->limit, "bytes per second, such as 200M");
  command
      ->add_option("--limit-file", flags->limit_file,
                   "the limit is what FILE says, also when that changes during the copy")
      ->type_name("FILE")
      ->excludes(limit);
  command->add_option("--workers", flags->workers, "concurrent chunks; 0: as the source likes best")
      ->check(CLI::Range(0, 64));
  command->add_option("--cacert", flags->ca_file, "PEM file of the CA to trust")->type_name("FILE");
  command->add_option("--thumbprint", flags->thumbprint, "trust exactly this certificate");
  command->add_flag("--progress,!--no-progress", flags->progress,
                    "show progress on stderr (default on a terminal)");
  command->add_flag("--json", flags->json, "print the figures as one line of JSON");
  command->add_option("--hash", flags->hash, "xxh3-128 or sha256")
      ->check(CLI::IsMember({"xxh3-128", "sha256"}))
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  vmferry copy --progress nbd://server/disk disk.img\n"
      "  vmferry copy --journal disk.journal https://server/disk-flat.vmdk /dev/vg/disk\n"
      "  vmferry copy --limit-file rate nbd://server/disk disk.img    # echo 50M >rate: slower\n"
      "  vmferry copy [ nbdkit file disk.raw ] copy.img\n"
      "  vmferry copy --vmdk-stream https://server/disk-stream.vmdk disk.img\n"
      "  vmferry copy --json [ qemu-nbd -f qcow2 disk.qcow2 ] null:\n");
  on_run(*command, context, [&context, flags] { return run_copy(context, *flags); });
}

}  // namespace vmferry::cli
