"""Since when keys are there: those of version 0.1.0, by their paths; all others came with 0.2.0.

The list is closed: nothing is added to it, so that a new key says of itself that it is new.
"""

FIRST, SECOND = "0.1.0", "0.2.0"

_OF_FIRST = {
    "recipe": """
        survey release size catalogue catalogue.file catalogue.format catalogue.names catalogue.id catalogue.ra
        catalogue.dec catalogue.x catalogue.y catalogue.flag catalogue.field catalogue.field_pattern catalogue.bands
        catalogue.magnitude catalogue.error catalogue.band_names catalogue.reference catalogue.undetected fields
        fields.pixel_scale fields.bands fields.zero_points fields.zero_point_column fields.zero_point_field
        fields.unreadable fields.checksum fields.band_names fields.lupton fields.lupton.red fields.lupton.green
        fields.lupton.blue fields.lupton.stretch fields.lupton.q fields.lupton.minimum fields.rgb files files.image
        files.crop files.unreadable files.keep cutouts cutouts.pixel_scale cutouts.bands cutouts.zero_points
        cutouts.zero_point_column cutouts.zero_point_field cutouts.unreadable cutouts.checksum cutouts.band_names
        cutouts.lupton cutouts.lupton.red cutouts.lupton.green cutouts.lupton.blue cutouts.lupton.stretch
        cutouts.lupton.q cutouts.lupton.minimum cutouts.cube spectra spectra.file spectra.format spectra.ra spectra.dec
        spectra.spectral_class spectra.warning spectra.radius filters filters.flags filters.duplicates
        filters.magnitudes split split.by split.cell split.column split.parts split.together split.train
        split.validation split.test split.seed compression stores stores.NAME.images stores.NAME.labels
        stores.NAME.labels.source stores.NAME.labels.column stores.NAME.labels.classes stores.NAME.detected_in
        stores.NAME.max_error stores.NAME.balanced stores.NAME.disjoint_from
    """,
    "jobs": """
        experiment preprocess preprocess.N.recipe preprocess.N.source preprocess.N.out preprocess.N.settings
        preprocess.N.tasks pretext pretext.store pretext.seed pretext.target pretext.overrides sets sets.NAME.store
        sets.NAME.target schemes seeds sizes overrides resources resources.STAGE.cpus resources.STAGE.gpus
        resources.STAGE.memory_gb resources.STAGE.minutes resources.STAGE.pack resources.STAGE.nodes
        resources.STAGE.ranks report
    """,
    "cluster": """
        kind python environment scratch engine gpus_per_node parallel resources resources.STAGE.cpus
        resources.STAGE.gpus resources.STAGE.memory_gb resources.STAGE.minutes resources.STAGE.pack
        resources.STAGE.nodes resources.STAGE.ranks rates partition account qos constraint setup max_array signal_delay
        attempts retries sbatch
    """,
    "run": """
        experiment set scheme seed data data.store data.target data.train_size data.batch_size data.flips data.turns
        data.rotation data.shift data.scaling data.corrupt data.bands data.missing data.class_weights data.feature_views
        data.control data.resident_mb data.keep_features weights model model.hidden model.dropout model.max_norm
        model.pooling model.precision phases phases.N.trains phases.N.optimizer phases.N.learning_rate phases.N.epochs
        phases.N.momentum training training.patience training.plateau_patience training.plateau_factor
        training.checkpoint_minutes engine device threads
    """,
}
OF_FIRST = {kind: frozenset(text.split()) for kind, text in _OF_FIRST.items()}


def since(kind: str, path: str) -> str:
    """The version that brought the key of a kind of file."""
    return FIRST if path in OF_FIRST[kind] else SECOND
