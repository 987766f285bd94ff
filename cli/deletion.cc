#include "cli/deletion.h"

#include <ostream>

#include "cli/object_output.h"
#include "cli/telemetry.h"
#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/api/import.h"

namespace vmferry::cli {
namespace {

constexpr std::chrono::milliseconds kPoll{200};
constexpr std::chrono::seconds kSayEvery{2};

// What the finalizers that are left stand for, in words.
std::string pending_work(const kube::Object& object) {
  std::string text;
  for (const std::string& finalizer : object.finalizers()) {
    std::string word = finalizer;
    if (finalizer == api::kRestoreFinalizer) word = "restoring the source VM";
    if (finalizer == api::kCleanupFinalizer) word = "removing claims and closing the source disks";
    if (finalizer == api::kCancelledFinalizer) word = "cancelling";
    text += (text.empty() ? "" : ", ") + word;
  }
  return text.empty() ? "what depends on it" : text;
}

Result<bool> coordinator_runs(Context& context) {
  const embedded::Home home = TRY(context.home());
  Telemetry telemetry = TRY(Telemetry::connect(home));
  return telemetry.is_running(context.stop);
}

Error needs_coordinator(const std::string& name, const kube::Object& object) {
  return make_error(ErrorKind::Unavailable,
                    "{} is marked for deletion, but no coordinator runs to undo it ({}): run "
                    "'vmferry up' and it goes on by itself",
                    name, pending_work(object));
}

}  // namespace

Result<int> delete_object(Context& context, kube::Reader& reader, kube::Writer& writer,
                          const kube::ResourceType& type, const kube::ObjectKey& key,
                          const DeletionOptions& options) {
  const std::string name = object_name(type, key.name);
  auto object = TRY(kube::get_if_exists(reader, type, key, context.stop));
  if (!object) {
    return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no {}{}", name,
                       type.namespaced ? " in namespace '" + key.ns + "'" : "");
  }
  const std::string uid = object->uid();
  TRY(writer.remove(type, key, kube::Propagation::Background, {.uid = uid, .resource_version = {}},
                    context.stop));
  const SteadyTime start = context.clock.steady();
  SteadyTime said = start;
  while (true) {
    object = TRY(kube::get_if_exists(reader, type, key, context.stop));
    if (!object || object->uid() != uid) {
      context.out << name << " deleted\n" << std::flush;
      return kOk;
    }
    if (!TRY(coordinator_runs(context))) return needs_coordinator(name, *object);
    if (!options.wait) {
      context.out << name << " is being deleted: " << pending_work(*object) << '\n';
      return kOk;
    }
    const SteadyTime now = context.clock.steady();
    if (now - start >= options.timeout) {
      context.err << fmt::format("error: {} is still there: {}\n", name, pending_work(*object));
      return kTimedOut;
    }
    if (now - said >= kSayEvery) {
      said = now;
      context.out << fmt::format("{}: {} ({})\n", name, pending_work(*object),
                                 human_duration(Seconds(now - start).count()))
                  << std::flush;
    }
    if (!context.clock.sleep(kPoll, context.stop)) {
      return Error(ErrorKind::Canceled, "stopped waiting; the deletion of " + name + " goes on");
    }
  }
}

}  // namespace vmferry::cli
