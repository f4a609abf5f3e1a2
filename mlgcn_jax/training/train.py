"""The training loop, from dataset to trained run."""

import contextlib
import pathlib
import time

import jax
from absl import logging
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, constant_labels, dataset, source
from mlgcn_jax.devices import compilation_cache
from mlgcn_jax.doctor import quick
from mlgcn_jax.graph import from_dataset, label_graph
from mlgcn_jax.runs import (
    checkpoint_store,
    checkpoints,
    heartbeats,
    jax_settings,
    metric_writer,
    processes,
    run_folder,
    train_state,
)
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.schema import configs
from mlgcn_jax.training import (
    due_steps,
    initial_weights,
    interruption,
    memory,
    profile,
    progress,
    promises,
    tracing,
    training_batches,
    vital_signs,
)
from mlgcn_jax.training import program as programs
from mlgcn_jax.training import saving as savings
from mlgcn_jax.training import validation as validations

_NOTHING_SAVED = -1


def train_and_evaluate(
    config: config_dict.ConfigDict,
    workdir: pathlib.Path,
    *,
    profile_steps: range | None = None,
) -> int | None:
    """Trains the run in `workdir`, from its newest whole checkpoint if it has one.

    Stopping and going on gives the same parameters, bit for bit, as never having
    stopped (same devices). Steps of `profile_steps`, 1 the first, are traced.

    Returns:
        The number of the signal that asked it to stop, with everything saved (in its
        last moments it may have come to its end all the same); None where none did.

    Raises:
        ValueError: bad config, dataset or run folder; the message says which and what
            to do. Training that diverged, a checkpoint that cannot be saved, too
            little memory, a device that computes wrong numbers.
        FileNotFoundError: there is no dataset.
    """
    configs.check(config)
    compilation_cache.enable()
    folder = run_folder.RunFolder(workdir)
    with jax_settings.usable(), contextlib.ExitStack() as stack:
        if processes.is_first():
            stack.enter_context(folder.locked())
        interrupted = stack.enter_context(interruption.catch_signals())
        signs = stack.enter_context(
            vital_signs.shown(folder, stuck_after_s=config.stuck_after_s)
        )
        with memory.exhaustion_told() as exhaustion:
            _train(
                config,
                folder,
                interrupted,
                signs,
                profile_steps or range(0),
                exhaustion,
            )
        stopped = interrupted.signal is not None
        signs.enter(heartbeats.STOPPED if stopped else heartbeats.FINISHED)
    return interrupted.signal


def _train(
    config: config_dict.ConfigDict,
    folder: run_folder.RunFolder,
    interrupted: interruption.Interruption,
    signs: vital_signs.VitalSigns,
    profile_steps: range,
    exhaustion: memory.Exhaustion,
) -> None:
    # --- Devices and dataset ---
    mesh = meshes.create_mesh(label_shards=config.label_shards)
    meshes.check_batch_size(
        config.batch_size, mesh.size, accumulation_steps=config.accumulation_steps
    )
    data = dataset.open_source(config.dataset, config.data_dir)
    quick.check(mesh)
    num_labels = len(data.vocabulary)
    if processes.is_first():
        promises.tell(config, data)

    # --- Run folder and label graph: new, or as they were when the run stopped ---
    store = _open_store(config, folder) if processes.is_first() else None
    step = _open_folder(config, folder, data, mesh) if processes.is_first() else None
    step = processes.agree(_NOTHING_SAVED if step is None else step)
    is_new = step == _NOTHING_SAVED
    graph, counted = label_graph.load_label_graph(folder.label_graph)
    passes = folder.read_epochs(config)
    due = due_steps.DueSteps(config, passes)
    num_steps = due.num_steps

    # --- Program; state and label graph on the devices ---
    program = programs.create_program(
        config,
        mesh,
        num_labels=num_labels,
        steps_per_epoch=passes.steps_per_epoch,
        num_steps=num_steps,
        counted=counted,
    )
    rows = meshes.rows_of_process(config.batch_size, mesh)
    if is_new:
        step = 0
        state = _initial_state(program, folder)
    else:
        signs.enter(vital_signs.RESTORING)
        state = checkpoints.restore_train_state(
            folder.checkpoints, step, program.abstract_state()
        )
    graph = program.place_graph(graph)
    logging.info(
        "%s: %d labels, %d training images, %d steps of %d images on %d %s device(s) "
        "of %d process(es)",
        f"resuming at step {step}" if step else "starting",
        num_labels,
        data.num_examples("train"),
        num_steps,
        config.batch_size,
        mesh.size,
        jax.default_backend(),
        processes.count(),
    )

    # --- Loop ---
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(checkpoint_store.following(store))
        saver = stack.enter_context(
            contextlib.closing(
                checkpoints.Checkpoints(
                    folder.checkpoints,
                    keep=config.keep_checkpoints,
                    after_save=copy,
                )
            )
        )
        writer = stack.enter_context(
            contextlib.closing(metric_writer.MetricWriter(folder, step=step))
        )
        batches = stack.enter_context(
            contextlib.closing(
                training_batches.open_batches(config, data, start_step=step, rows=rows)
            )
        )
        profiler = stack.enter_context(
            profile.profiling(
                profile_steps, folder.profile, step=step, num_steps=num_steps
            )
        )
        validation = validations.Validation(
            config,
            data,
            program.graphdef,
            batch_size=(rows.stop - rows.start) // config.accumulation_steps,
            writer=writer,
            interrupted=interrupted,
            signs=signs,
        )
        stack.enter_context(jax.transfer_guard("disallow"))
        reporter = progress.Progress(
            writer,
            signs,
            batch_size=config.batch_size,
            step=step,
            num_steps=num_steps,
            steps_per_epoch=passes.steps_per_epoch,
        )

        saving = savings.Saving(config, folder, saver, writer, due, signs, step=step)
        if is_new and num_steps == 0:
            saving.save(state, step)
        try:
            while True:
                profiler.after(step, state)
                # First in the loop: a run that was killed here validates after all.
                if due.validates(step) and step > writer.last_validated:
                    validation.run(step, state.ema or state.variables, graph)
                    saving.after_validation(state, step)
                    reporter.resume_clock()
                if step == num_steps:
                    return
                interrupted.check()
                wait_start = time.perf_counter()
                batch = next(batches)
                data_wait_s = time.perf_counter() - wait_start
                batch = meshes.put_batch(batch, config.batch_size, mesh)
                if exhaustion.step is None:
                    exhaustion.step = memory.Step(
                        program.step,
                        meshes.shapes_of((state, batch, graph)),
                        batch_size=config.batch_size,
                        multiple_of=mesh.size * config.accumulation_steps,
                    )
                state, step_metrics = program.step(state, batch, graph)
                step += 1
                reporter.add(step_metrics, data_wait_s=data_wait_s)
                if due.logs(step):
                    reporter.report()
                if due.saves(step):
                    saving.save(state, step)
        except interruption.Interrupted:
            if not saving.has(step):
                reporter.report()
                saving.save(state, step)
            logging.info("stopped by a signal at step %d; everything is saved", step)


def _open_store(
    config: config_dict.ConfigDict, folder: run_folder.RunFolder
) -> checkpoint_store.CheckpointStore | None:
    """Returns where copies go, None for nowhere; fetches what is newer there."""
    if not config.checkpoint_store:
        return None
    store = checkpoint_store.CheckpointStore(config.checkpoint_store, folder)
    store.fetch_newer(config)
    return store


def _open_folder(
    config: config_dict.ConfigDict,
    folder: run_folder.RunFolder,
    data: source.Opened,
    mesh: Mesh,
) -> int | None:
    """Makes the folder of a new run; returns the step to go on from in another's."""
    step = checkpoints.latest_step(folder.checkpoints)
    if step is None:
        promises.check(config)
        graph, counted = from_dataset.create_label_graph(config.graph, data)
        for note in constant_labels.notes_on_dataset(data, counts=counted.counts):
            logging.warning("%s", note)
        tracing.check(config, mesh, graph, num_labels=len(data.vocabulary))
        folder.create(config, data, graph, counted)
    else:
        folder.reopen(config, data)
        checkpoints.set_damaged_aside(folder.checkpoints, newer_than=step)
    return step


def _initial_state(
    program: programs.Program, folder: run_folder.RunFolder
) -> train_state.TrainState:
    """Returns what a new run starts from: random, or with weights of a file."""
    state, config = program.create_state(), program.config
    if config.initial_weights:
        path = pathlib.Path(config.initial_weights).expanduser()
        state = initial_weights.load(path, config, state, folder, program.mesh)
    return state
