#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "cli/apply_files.h"
#include "cli/commands.h"
#include "cli/dry_run_text.h"
#include "cli/object_output.h"
#include "cli/overlay_reader.h"
#include "cli/validate_stage.h"
#include "cli/waiting_note.h"
#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/embedded/standard_class.h"
#include "coordinator/imports/rehearse.h"

namespace vmferry::cli {
namespace {

using imports::DryRun;
using imports::Verdict;

// What one import reached over a gigabit link and the slower of vCenter's ways, in our benchmarks.
constexpr double kAssumedRate = 100.0 * kMiB;

struct ValidateFlags {
  std::vector<std::string> files;
  std::vector<std::string> names;
  std::string output, rate;
  bool show_vm = false;
  StageFlags stage;
};

// The imports that are asked about: those of the files, or those of the store by name.
Result<std::vector<kube::ObjectKey>> put_on_stage(Context& context, const ValidateFlags& flags,
                                                  const Stage& stage, OverlayReader& view) {
  std::vector<kube::ObjectKey> keys;
  for (const std::string& name : flags.names) keys.push_back({context.ns, name});
  if (!flags.files.empty()) {
    for (const api::ManifestObject& manifest :
         TRY(load_manifests(context, stage.reader(), stage.writer(), flags.files))) {
      const kube::Object& object = manifest.object;
      const kube::ResourceType* type = kube::find_type(object.api_version(), object.kind());
      VMFERRY_CHECK(type != nullptr);  // load_manifests saw to it
      TRY(view.put(*type, object, context.stop));
      if (*type == kube::types::kVirtualMachineImport) keys.push_back(object.key());
    }
  }
  if (stage.scope().embedded) {
    const kube::ObjectList classes = TRY(view.list(kube::types::kStorageClass, {}, context.stop));
    if (classes.items.empty()) {  // as the coordinator does when it starts
      TRY(view.put(kube::types::kStorageClass, embedded::standard_class(), context.stop));
    }
  }
  if (keys.empty()) {
    return make_error(ErrorKind::InvalidArgument,
                      "there is no VirtualMachineImport to validate: name one, or give a file that "
                      "holds one");
  }
  return keys;
}

// One run and the rate that its estimate is made with.
struct Answer {
  DryRun run;
  AssumedRate rate;
};

Result<AssumedRate> rate_for(Context& context, kube::Reader& reader, const ValidateFlags& flags,
                             const api::VirtualMachineImport& import) {
  if (!flags.rate.empty()) {
    const std::uint64_t rate = TRY(parse_size(flags.rate));
    if (rate > 0) return AssumedRate{static_cast<double>(rate), "--rate"};
    return make_error(ErrorKind::InvalidArgument, "--rate must be more than 0");
  }
  std::vector<api::VirtualMachineImport> others;
  for (const kube::Object& object :
       TRY(reader.list(kube::types::kVirtualMachineImport, {}, context.stop)).items) {
    if (auto other = api::parse_import(object)) others.push_back(*std::move(other));
  }
  const auto measured = measured_rate(others, imports::provider_kind(import.spec));
  return measured.value_or(AssumedRate{kAssumedRate, "assumed; --rate sets another"});
}

std::vector<std::string> notes_on(const api::VirtualMachineImport& import) {
  std::vector<std::string> notes;
  if (import.object.uid() == kUidToCome) {
    notes.emplace_back("claims are named after the import's uid, which it gets when it is applied");
  } else if (api::find_condition(import.status.conditions, "Succeeded") != nullptr) {
    notes.emplace_back("the import has ended already; applying it again changes nothing");
  } else if (import.object.annotation(api::kProgress)) {
    notes.emplace_back("the import is under way with the plan it has; this is a new look");
  }
  return notes;
}

Result<Answer> rehearse_one(Context& context, const ValidateFlags& flags, const Stage& stage,
                            OverlayReader& view, const kube::ObjectKey& key) {
  const auto object =
      TRY(kube::get_if_exists(view, kube::types::kVirtualMachineImport, key, context.stop));
  if (!object) {
    return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no import '{}'",
                       key.to_string());
  }
  const auto import = TRY(api::parse_import(*object));
  AssumedRate rate = TRY(rate_for(context, stage.reader(), flags, import));
  const bool is_vmware = imports::provider_kind(import.spec) == ProviderKind::Vmware;
  const VddkAgents agents = is_vmware ? stage.ask_for_vddk(context.stop) : VddkAgents();
  const Logger log = context.log;
  access::SubjectAccessReviews reviews(stage.writer(), context.clock);
  const imports::RehearsalParts parts{
      .reader = view,
      .scope = stage.scope(),
      .stop = context.stop,
      .writer = stage.writer(),
      .make_provider = [&log](const ProviderCredentials& c) { return make_provider(c, log); },
      .bytes_per_second = rate.bytes_per_second,
      .vddk = agents.unknown_why.empty() ? std::optional(agents.with > 0) : std::nullopt,
      .access = stage.scope().embedded ? nullptr : &reviews};
  const WaitingNote note(context.err, ::isatty(STDERR_FILENO) == 1,
                         "reading the source of " + key.to_string(), context.clock);
  DryRun run = TRY(imports::rehearse(parts, import));
  if (run.verdict != Verdict::Blocked && !run.vm_name.empty()) {
    kube::Object decided = import.object;  // its name is taken for the imports that follow
    decided.json()["status"]["targetVmName"] = run.vm_name;
    view.replace(kube::types::kVirtualMachineImport, std::move(decided));
  }
  run.notes = notes_on(import);
  if (is_vmware) run.notes.push_back(vddk_note(agents));
  return Answer{std::move(run), std::move(rate)};
}

int exit_code_of(const std::vector<Answer>& answers) {
  const auto any = [&answers](Verdict verdict) {
    return std::ranges::any_of(
        answers, [verdict](const Answer& answer) { return answer.run.verdict == verdict; });
  };
  if (any(Verdict::Blocked)) return kFailed;
  return any(Verdict::Unknown) ? kTimedOut : kOk;
}

std::string answers_text(const std::vector<Answer>& answers, OutputForm form, bool show_vm) {
  if (form == OutputForm::Json || form == OutputForm::Yaml) {
    nlohmann::json items = nlohmann::json::array();
    for (const auto& [run, rate] : answers) {
      items.push_back(imports::to_json(run));
      items.back()["estimate"]["bytesPerSecond"] = rate.bytes_per_second;
      items.back()["estimate"]["rate"] = rate.how;
    }
    const nlohmann::json all{{"items", std::move(items)}};
    if (form == OutputForm::Yaml) return api::to_yaml(kube::Object(all));
    return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  std::string text;
  for (const auto& [run, rate] : answers) {
    if (form == OutputForm::Name) {
      text += fmt::format("{}: {}\n", run.import.to_string(), to_string(run.verdict));
    } else {
      text += (text.empty() ? "" : "\n") + dry_run_text(run, rate, show_vm);
    }
  }
  return text;
}

Result<int> run_validate(Context& context, const ValidateFlags& flags, bool namespace_given) {
  const OutputForm form = TRY(parse_output_form(flags.output));
  const Stage stage = TRY(Stage::set(context, flags.stage));
  if (!namespace_given && !stage.ns().empty()) context.ns = stage.ns();
  OverlayReader view(stage.reader());
  std::vector<Answer> answers;
  for (const kube::ObjectKey& key : TRY(put_on_stage(context, flags, stage, view))) {
    answers.push_back(TRY(rehearse_one(context, flags, stage, view, key)));
  }
  context.out << answers_text(answers, form, flags.show_vm);
  return exit_code_of(answers);
}

}  // namespace

void add_validate(CLI::App& app, Context& context) {
  auto flags = std::make_shared<ValidateFlags>();
  CLI::App* command = app.add_subcommand(
      "validate", "Tell what an import would do, from source and cluster; changes nothing");
  command->add_option("NAME", flags->names, "imports that were applied already");
  command
      ->add_option("-f,--filename", flags->files,
                   "files or directories as for apply; - for standard input")
      ->type_name("PATH");
  command->add_option("-o,--output", flags->output, "yaml or json: everything; name: verdicts");
  command->add_flag("--show-vm", flags->show_vm, "print the virtual machine as it would be made");
  command->add_option("--rate", flags->rate, "bytes per second for the estimate, such as 250M");
  command->add_flag("--cluster", flags->stage.cluster,
                    "ask the cluster of the kubeconfig, not this installation's own store (the "
                    "default of kubectl-vmferry)");
  command
      ->add_option("--kubeconfig", flags->stage.kubeconfig,
                   "the cluster of this file; implies --cluster")
      ->type_name("PATH");
  command
      ->add_option("--context", flags->stage.context,
                   "context of the kubeconfig; implies --cluster")
      ->type_name("NAME");
  command
      ->add_option("--config-namespace", flags->stage.config_namespace,
                   "namespace of the coordinator in the cluster, where its configuration is")
      ->type_name("NAME")
      ->capture_default_str();
  command->footer(
      "Logs in at the source, reads the VM, and decides as the coordinator would: nothing is "
      "written,\n"
      "started, stopped or left open, at the source or here. What the files do not hold is taken "
      "from\n"
      "what was applied.\n"
      "Exit codes: 0 every import would run, 1 one is blocked, 2 the source or cluster could not "
      "be\n"
      "read, 3 the files are wrong.\n\n"
      "Examples:\n"
      "  vmferry validate -f vm.yaml\n"
      "  vmferry validate web01 --show-vm\n"
      "  vmferry validate -f vm.yaml --context lab  in the cluster of a kubeconfig's context\n"
      "  vmferry validate -f vms/ -o json | jq '.items[] | .import, .verdict'\n");
  on_run(*command, context, [&app, &context, flags] {
    const bool as_plugin = app.get_name() == kPluginName && context.home_flag.empty();
    StageFlags& stage = flags->stage;
    stage.cluster |= as_plugin || !stage.kubeconfig.empty() || !stage.context.empty();
    const CLI::Option* ns = app.get_option_no_throw("--namespace");
    return run_validate(context, *flags, ns != nullptr && ns->count() > 0);
  });
}

}  // namespace vmferry::cli
